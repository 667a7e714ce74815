"""When a session starts afresh: because its user says so, because of the hour, because of a pause.

https://docs.openclaw.ai/concepts/session: a trigger is a whole message or its first word, in any case. What
follows it is the first message of the new conversation; a trigger alone gets a greeting.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from openclaw_twisted.boundaries import SessionRow
from openclaw_twisted.config.settings import ResetSettings
from openclaw_twisted.content import Message, TextPart, text_of
from openclaw_twisted.runs.request import RunRequest

__all__ = ["GREETING", "asks_afresh", "is_over", "without_trigger"]

GREETING = (
    "The user has just started a new conversation with a command. Greet them in a sentence or two, in the "
    "language they use if you know it, and ask what they would like to do. Do not speak of the command."
)


def asks_afresh(message: str, triggers: Sequence[str]) -> bool:
    """Tell whether a message asks for a new conversation."""
    return _trigger(message, triggers) is not None


def without_trigger(request: RunRequest, triggers: Sequence[str]) -> RunRequest | None:
    """Return what a request asks in the new conversation that it starts; None when it starts none."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user":
        return None
    trigger = _trigger(text_of(last), triggers)
    if trigger is None:
        return None
    rest = text_of(last).strip()[len(trigger) :].strip()
    more = () if isinstance(last.content, str) else last.content
    others = tuple(part for part in more if not isinstance(part, TextPart))
    if not rest and not others:
        instructions = (*request.instructions, GREETING)
        return msgspec.structs.replace(
            request, messages=(last,), carried=0, instructions=instructions, appends=True
        )
    content: Message = msgspec.structs.replace(
        last, content=rest if not others else (*((TextPart(rest),) if rest else ()), *others)
    )
    return msgspec.structs.replace(request, messages=(content,), carried=0, appends=True)


def is_over(session: SessionRow, reset: ResetSettings, now: float) -> bool:
    """Tell whether the rules end a conversation before its next turn; `now` is in seconds since the epoch."""
    if reset.mode == "none":
        return False
    if reset.mode == "daily" and session.started_at < _last_hour(reset.at_hour, now):
        return True
    return reset.idle_minutes is not None and session.updated_at + reset.idle_minutes * 60 < now


def _trigger(text: str, triggers: Sequence[str]) -> str | None:
    said = text.strip().lower()
    for trigger in triggers:
        word = trigger.strip().lower()
        if word and (said == word or (said.startswith(word) and said[len(word)].isspace())):
            return word
    return None


def _last_hour(hour: int, now: float) -> float:
    """Return when it was that hour for the last time, by the local clock."""
    today = time.localtime(now)
    for days_ago in (0, 1):
        # mktime() takes any day of the month, and knows about summer time.
        date = (today.tm_year, today.tm_mon, today.tm_mday - days_ago)
        at = time.mktime((*date, hour, 0, 0, 0, 0, -1))
        if at <= now:
            return at
    return at
