"""How much of the past a model is given: what fits into its context window, whole turns at a time.

Tokens are estimated (`content.estimated_tokens`), so a tenth of the window stays free, and so does room for
the answer. The oldest turns go first. What the request itself says always stays, whatever it comes to, and so
does the turn that it goes on with by the results of tools, which mean nothing without their calls: a provider
that finds it too long says so better than we could.

Models remember how the last question began, and read the same beginning again many times faster, or for less
money. So the oldest turns do not go one by one, which would give each question another beginning: many go at
once, a quarter of what fits or so, and then none for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import log2
from typing import Final

import msgspec

from openclaw_twisted.content import Message, estimated_tokens, turn_starts
from openclaw_twisted.runs.request import RunRequest

__all__ = ["ANSWER_TOKENS", "budget", "fitting"]

ANSWER_TOKENS: Final = 4096
"""Left free for an answer whose length nobody limited, but never more than a quarter of the window."""

_MARGIN: Final = 0.1
_GOES_AT_ONCE: Final = 0.25
_encode = msgspec.json.Encoder().encode


def budget(context_tokens: int, request: RunRequest, *, system_prompt: str, added: Sequence[Message]) -> int:
    """Return how many tokens of the past there is room for beside the rest of the question."""
    answer = request.sampling.max_tokens or ANSWER_TOKENS
    system = Message(role="system", content="\n\n".join((system_prompt, *request.instructions)))
    tools = Message(role="system", content="".join(_encode(tool).decode() for tool in request.tools))
    fixed = sum(map(estimated_tokens, (system, tools, *added)))
    return int(context_tokens * (1 - _MARGIN)) - min(answer, context_tokens // 4) - fixed


def fitting(
    history: Sequence[Message], tokens: int, *, whole: bool, goes_on: bool = False, first: int = 0
) -> tuple[Message, ...]:
    """Return the newest turns, after the system messages of those that go; both come to at most `tokens`.

    `whole` says that the history is all there is: it may begin in the middle of a turn if it is not.
    `goes_on` says that the newest turn is under way and stays, `first` is the number of the first message in
    its conversation.
    """
    # They stay, whatever else goes, and what is said again is told once.
    tokens -= sum(map(estimated_tokens, {message for message in history if message.role == "system"}))
    costs = [0 if message.role == "system" else estimated_tokens(message) for message in history]
    left = [*accumulate(reversed(costs))][::-1]
    if not history or (whole and left[0] <= tokens):
        return tuple(history)
    starts = turn_starts(history)
    cut = _cut(starts, left, tokens, first)
    if goes_on:
        cut = min(cut, starts[-1] if starts else 0)
    system = (message for message in history[:cut] if message.role == "system")
    return (*system, *history[cut:])


def _cut(starts: Sequence[int], left: Sequence[int], tokens: int, first: int) -> int:
    """Return the start of the turn to begin with: where a block of messages begins, so that it stays a while.

    `left` is what the messages from each on come to.
    """
    earliest = next((at for at in starts if left[at] <= tokens), None)
    if earliest is None:
        return len(left)
    room = min(tokens, left[0])
    quarter = _GOES_AT_ONCE * len(left) * room / left[0]
    block = 1 << max(0, round(log2(quarter)))  # a power of two hardly changes as the conversation grows
    return next(
        (
            at
            for before, at in pairwise(starts)
            if room / 2 <= left[at] <= room and (first + before) // block < (first + at) // block
        ),
        earliest,
    )
