"""What every store derives from a turn in the same way: its session's kind, its messages' times and marks."""

from __future__ import annotations

from collections.abc import Iterator

from openclaw_twisted.boundaries import RunRecord, StoredMessage, TurnRecord
from openclaw_twisted.session_key import SessionKey

__all__ = ["changed_at", "is_stateless", "stored_messages"]


def is_stateless(session_key: str) -> bool:
    """Whether the session of this (canonical) key lasts for one request only."""
    agent_id, _, rest = session_key.removeprefix("agent:").partition(":")
    return SessionKey(agent_id, rest).stateless


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
