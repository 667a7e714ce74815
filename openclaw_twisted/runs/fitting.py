"""How much of the past a model is given: what fits into its context window, whole turns at a time.

Tokens are estimated (`content.estimated_tokens`), so a tenth of the window stays free, and so does room for
the answer. The oldest turns go first. What the request itself says always stays, whatever it comes to, and so
does the turn that it goes on with by the results of tools, which mean nothing without their calls: a provider
that finds it too long says so better than we could.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from openclaw_twisted.content import Message, estimated_tokens, turn_starts
from openclaw_twisted.runs.request import RunRequest

__all__ = ["ANSWER_TOKENS", "budget", "fitting"]

ANSWER_TOKENS: Final = 4096
"""Left free for an answer whose length nobody limited, but never more than a quarter of the window."""

_MARGIN: Final = 0.1
_encode = msgspec.json.Encoder().encode


def budget(context_tokens: int, request: RunRequest, *, system_prompt: str, added: Sequence[Message]) -> int:
    """Return how many tokens of the past there is room for beside the rest of the question."""
    answer = request.sampling.max_tokens or ANSWER_TOKENS
    system = Message(role="system", content="\n\n".join((system_prompt, *request.instructions)))
    tools = Message(role="system", content="".join(_encode(tool).decode() for tool in request.tools))
    fixed = sum(map(estimated_tokens, (system, tools, *added)))
    return int(context_tokens * (1 - _MARGIN)) - min(answer, context_tokens // 4) - fixed


def fitting(
    history: Sequence[Message], tokens: int, *, whole: bool, goes_on: bool = False
) -> tuple[Message, ...]:
    """Return the newest turns that come to at most `tokens`, after the system messages of those that go.

    `whole` says that the history is all there is: it may begin in the middle of a turn if it is not.
    `goes_on` says that the newest turn is under way and stays.
    """
    costs = [estimated_tokens(message) for message in history]
    left = [*accumulate(reversed(costs))][::-1]
    if not history or (whole and left[0] <= tokens):
        return tuple(history)
    starts = turn_starts(history)
    cut = next((at for at in starts if left[at] <= tokens), len(history))
    if goes_on:
        cut = min(cut, starts[-1] if starts else 0)
    system = (message for message in history[:cut] if message.role == "system")
    return (*system, *history[cut:])
