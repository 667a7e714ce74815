"""What every store derives in the same way: a session's kind, a turn's times and marks, titles, cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

import msgspec

from openclaw_twisted.boundaries import (
    MAX_HISTORY_CHARACTERS,
    MAX_HISTORY_MESSAGES,
    Conversation,
    RunRecord,
    SessionPatch,
    SessionRow,
    StoredMessage,
    TurnRecord,
)
from openclaw_twisted.content import Message, estimated_tokens, size_of, text_of, turn_starts
from openclaw_twisted.session_key import SessionKey

__all__ = [
    "MAX_PREVIEW_CHARACTERS",
    "MAX_TITLE_CHARACTERS",
    "ClaimLimits",
    "agent_of",
    "changed_at",
    "chosen",
    "conversation_of",
    "enough",
    "first_kept",
    "folded",
    "is_stateless",
    "preview_of",
    "stored_messages",
    "title_of",
]

MAX_TITLE_CHARACTERS = 60
MAX_PREVIEW_CHARACTERS = 200

_LOOKED_AT = 4  # times as much is read as is shown: white space is dropped from it
_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_FOLD = str.maketrans(_UPPER, _LOWER)


class ClaimLimits(NamedTuple):
    """How long idempotency keys are kept, and how many."""

    keep_seconds: float = 300.0
    max_kept: int = 1000


def is_stateless(session_key: str) -> bool:
    """Whether the session of this (canonical) key lasts for one request only."""
    return _parts(session_key).stateless


def agent_of(session_key: str) -> str:
    """Return the id of the agent that the session of this (canonical) key belongs to."""
    return _parts(session_key).agent_id


def changed_at(run: RunRecord) -> float:
    """Return when the run last changed its session, in seconds since the epoch."""
    return run.started_at if run.ended_at is None else run.ended_at


def stored_messages(turn: TurnRecord, after_seq: int) -> Iterator[StoredMessage]:
    """Yield the turn's messages as they are kept behind message `after_seq` of their session.

    What the caller said (everything up to the last user message) dates from the run's start, what the
    run added dates from its end. Only an answer can have been cut off, and only the last one.
    """
    last = len(turn.messages) - 1
    spoken = max((i for i, message in enumerate(turn.messages) if message.role == "user"), default=-1)
    for index, message in enumerate(turn.messages):
        yield StoredMessage(
            seq=after_seq + index + 1,
            run_id=turn.run.run_id,
            at=turn.run.started_at if index <= spoken else changed_at(turn.run),
            message=message,
            interrupted=turn.interrupted and index == last and message.role == "assistant",
        )


def title_of(messages: Sequence[Message]) -> str | None:
    """Return what a conversation with these messages may be called: how its user began."""
    texts = (_line(message, MAX_TITLE_CHARACTERS) for message in messages if message.role == "user")
    return next(filter(None, texts), None)


def preview_of(messages: Sequence[Message]) -> str | None:
    """Return the beginning of the last message that says something."""
    texts = (
        _line(message, MAX_PREVIEW_CHARACTERS)
        for message in reversed(messages)
        if message.role in {"user", "assistant"}
    )
    return next(filter(None, texts), None)


def first_kept(messages: Sequence[Message], keep: int) -> int:
    """Return which of these newest messages of a conversation is the first of those that stay.

    That is where a turn begins, so that at most `keep` stay, or the last turn if that alone has more.
    """
    starts = turn_starts(messages)
    fitting = [at for at in starts if len(messages) - at <= keep]
    if fitting:
        return fitting[0]
    return starts[-1] if starts else 0


def conversation_of(
    session: SessionRow, messages: Sequence[StoredMessage], max_tokens: int | None
) -> Conversation:
    """Return a conversation with the newest of its messages, and how it began."""
    newest_first = reversed(messages[-MAX_HISTORY_MESSAGES:])
    found = enough(newest_first, max_characters=MAX_HISTORY_CHARACTERS, max_tokens=max_tokens)
    before = takewhile(lambda stored: stored.message.role == "system", messages[: len(messages) - len(found)])
    return Conversation(
        session=session,
        messages=tuple(found),
        tokens=sum(estimated_tokens(stored.message) for stored in found),
        opening=tuple(stored.message for stored in before),
    )


def enough(
    newest_first: Iterator[StoredMessage], *, max_characters: int | None, max_tokens: int | None = None
) -> list[StoredMessage]:
    """Take messages until they come to `max_characters` or `max_tokens`; return them oldest first."""
    taken: list[StoredMessage] = []
    characters = tokens = 0
    for stored in newest_first:
        taken.append(stored)
        if max_characters is not None:
            characters += size_of((stored.message,))
            if characters >= max_characters:
                break
        if max_tokens is not None:
            tokens += estimated_tokens(stored.message)
            if tokens >= max_tokens:
                break
    taken.reverse()
    return taken


def folded(text: str) -> str:
    """Return the text with A to Z in lower case, which is all that SQLite's `lower` knows."""
    return text.translate(_FOLD)


def chosen(patch: SessionPatch, options: dict[str, object]) -> dict[str, object]:
    """Return the fields that a patch changes, with the options as they are after it."""
    fields = {
        name: value
        for name in ("label", "model", "thinking_level", "verbose_level")
        if (value := getattr(patch, name)) is not msgspec.UNSET
    }
    merged = {**options, **patch.options}
    return {**fields, "options": {name: value for name, value in merged.items() if value is not None}}


def _parts(session_key: str) -> SessionKey:
    agent_id, _, rest = session_key.removeprefix("agent:").partition(":")
    return SessionKey(agent_id, rest)


def _line(message: Message, limit: int) -> str:
    beginning = text_of(message)[: limit * _LOOKED_AT]
    line = " ".join(beginning.split())
    if not line.isprintable():
        printable = "".join(character if character.isprintable() else " " for character in line)
        line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "\u2026"
