"""Turns and runs as rows, and every statement that reads or writes them (`schema/` has the tables)."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any, NamedTuple

import msgspec

from openclaw_twisted.boundaries import RunRecord, SessionRow, StoredMessage, TurnRecord
from openclaw_twisted.content import Message, Usage
from openclaw_twisted.sessions.turns import changed_at, is_stateless, stored_messages

__all__ = [
    "TurnRows",
    "begin",
    "find_run",
    "history",
    "interrupt_runs",
    "list_sessions",
    "prune",
    "record",
    "turn_rows",
]

_TOUCH_SESSION = """
INSERT INTO sessions (session_key, agent_id, stateless, created_at, updated_at, message_count)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (session_key) DO UPDATE SET
    updated_at = max(updated_at, excluded.updated_at),
    message_count = message_count + excluded.message_count
"""
_COUNT_MESSAGES = "SELECT message_count FROM sessions WHERE session_key = ?"
_ADD_MESSAGE = """
INSERT INTO messages (session_key, seq, run_id, at, interrupted, body) VALUES (?, ?, ?, ?, ?, ?)
"""
_PUT_RUN = """
INSERT OR REPLACE INTO runs
    (run_id, session_key, agent_id, model, status, started_at, ended_at, finish_reason, error_code, usage)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FIND_RUN = """
SELECT run_id, session_key, agent_id, model, status, started_at, ended_at, finish_reason, error_code, usage
FROM runs WHERE run_id = ?
"""
_INTERRUPT_RUNS = """
UPDATE runs SET status = 'interrupted', ended_at = ? WHERE status IN ('queued', 'running')
"""
_NEWEST_MESSAGES = """
SELECT seq, run_id, at, CAST(coalesce(body, '') AS BLOB), interrupted FROM messages
WHERE session_key = ? ORDER BY seq DESC LIMIT ?
"""
_NEWEST_SESSIONS = """
SELECT session_key, agent_id, created_at, updated_at, message_count FROM sessions
ORDER BY updated_at DESC, session_key LIMIT ?
"""
_STALE_SESSIONS = """
SELECT session_key FROM sessions WHERE stateless = 1 AND updated_at < ? ORDER BY updated_at LIMIT ?
"""
_DELETE_SESSION = (
    "DELETE FROM messages WHERE session_key = ?",
    "DELETE FROM runs WHERE session_key = ?",
    "DELETE FROM sessions WHERE session_key = ?",
)

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_usage = msgspec.json.Decoder(Usage).decode


class TurnRows(NamedTuple):
    """A turn, ready to be written; messages lack their session's key and count from seq 1."""

    session_key: str
    session: tuple[Any, ...]
    messages: tuple[tuple[Any, ...], ...]
    run: tuple[Any, ...]
    size_bytes: int


def turn_rows(turn: TurnRecord) -> TurnRows:
    """Return the rows of a turn; raises `UnicodeEncodeError` for text that is not Unicode."""
    messages = tuple(
        (stored.seq, stored.run_id, stored.at, stored.interrupted, _encode(stored.message).decode())
        for stored in stored_messages(turn, after_seq=0)
    )
    return TurnRows(
        session_key=turn.run.session_key,
        session=_session_row(turn.run, len(messages)),
        messages=messages,
        run=_run_row(turn.run),
        size_bytes=sum(len(body) for *_, body in messages),
    )


def record(connection: Connection, turn: TurnRows) -> None:
    """Append a turn to its session and put its run on record."""
    connection.execute(_TOUCH_SESSION, turn.session)
    if turn.messages:
        (count,) = connection.execute(_COUNT_MESSAGES, (turn.session_key,)).fetchone()
        before = count - len(turn.messages)
        for seq, *rest in turn.messages:
            connection.execute(_ADD_MESSAGE, (turn.session_key, before + seq, *rest))
    connection.execute(_PUT_RUN, turn.run)


def begin(connection: Connection, run: RunRecord) -> None:
    """Put a run that has no end yet on record, and its session with it."""
    connection.execute(_TOUCH_SESSION, _session_row(run, 0))
    connection.execute(_PUT_RUN, _run_row(run))


def interrupt_runs(connection: Connection, at: float) -> int:
    """Mark the runs that have no end yet as interrupted at `at`; return how many."""
    return connection.execute(_INTERRUPT_RUNS, (at,)).rowcount


def history(
    connection: Connection, session_key: str, limit: int
) -> tuple[tuple[StoredMessage, ...], tuple[int, ...]]:
    """Return the newest messages of a session, oldest first, and the seqs of those that are unreadable."""
    messages: list[StoredMessage] = []
    unreadable: list[int] = []
    for seq, run_id, at, body, interrupted in connection.execute(
        _NEWEST_MESSAGES, (session_key, max(limit, 0))
    ):
        try:
            message = _decode_message(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            unreadable.append(seq)
        else:
            messages.append(
                StoredMessage(seq=seq, run_id=run_id, at=at, message=message, interrupted=bool(interrupted))
            )
    messages.reverse()
    return tuple(messages), tuple(unreadable)


def list_sessions(connection: Connection, limit: int) -> tuple[SessionRow, ...]:
    """Return the most recently updated sessions, newest first."""
    return tuple(
        SessionRow(
            session_key=session_key,
            agent_id=agent_id,
            created_at=created_at,
            updated_at=updated_at,
            message_count=message_count,
        )
        for session_key, agent_id, created_at, updated_at, message_count in connection.execute(
            _NEWEST_SESSIONS, (max(limit, 0),)
        )
    )


def find_run(connection: Connection, run_id: str) -> RunRecord | None:
    """Return what is kept of a run."""
    row = connection.execute(_FIND_RUN, (run_id,)).fetchone()
    if row is None:
        return None
    fields = dict(zip(RunRecord.__struct_fields__, row, strict=True))
    if fields["usage"] is not None:
        try:
            fields["usage"] = _decode_usage(fields["usage"])
        except msgspec.DecodeError:  # counts that are damaged are no reason to deny the run
            fields["usage"] = None
    return RunRecord(**fields)


def prune(connection: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` stateless sessions last updated before `before`; return how many."""
    stale = connection.execute(_STALE_SESSIONS, (before, limit)).fetchall()
    for statement in _DELETE_SESSION:
        connection.executemany(statement, stale)
    return len(stale)


def _session_row(run: RunRecord, message_count: int) -> tuple[Any, ...]:
    return (
        run.session_key,
        run.agent_id,
        is_stateless(run.session_key),
        run.started_at,
        changed_at(run),
        message_count,
    )


def _run_row(run: RunRecord) -> tuple[Any, ...]:
    """Return the run in the order of the statements' columns, which is the order of its fields."""
    usage = None if run.usage is None else _encode(run.usage).decode()
    return (*msgspec.structs.astuple(run)[:-1], usage)
