"""Turns, runs and claims as rows, and every statement that reads or writes them (see `schema/`)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from sqlite3 import Connection
from typing import Any

import msgspec

from openclaw_twisted.boundaries import Claim, Recollection, RunRecord, StoredMessage, TurnRecord
from openclaw_twisted.content import Message, Role, Usage
from openclaw_twisted.ordered_id import new_id
from openclaw_twisted.sessions.turns import (
    ClaimLimits,
    changed_at,
    enough,
    is_stateless,
    preview_of,
    stored_messages,
    title_of,
)

__all__ = [
    "ALL",
    "begin",
    "find_run",
    "history",
    "interrupt_runs",
    "list_runs",
    "lost_runs",
    "messages_before",
    "opening",
    "recall",
    "record",
    "roles",
]

_TOUCH_SESSION = """
INSERT INTO sessions (
    session_key, agent_id, stateless, session_id, created_at, started_at, updated_at, last_seq, title,
    preview, input_tokens, output_tokens, total_tokens, context_tokens
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session_key) DO UPDATE SET
    updated_at = max(updated_at, excluded.updated_at),
    last_seq = last_seq + excluded.last_seq,
    title = coalesce(title, excluded.title),
    preview = coalesce(excluded.preview, preview),
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    total_tokens = total_tokens + excluded.total_tokens,
    context_tokens = coalesce(excluded.context_tokens, context_tokens)
"""
_LAST_SEQ = "SELECT last_seq FROM sessions WHERE session_key = ?"
_ADD_MESSAGE = """
INSERT INTO messages (session_key, seq, run_id, at, interrupted, body) VALUES (?, ?, ?, ?, ?, ?)
"""
_PUT_RUN = """
INSERT OR REPLACE INTO runs (
    run_id, session_key, agent_id, model, status, started_at, ended_at, finish_reason, error_code, usage,
    error_message
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_END_RUN = """
UPDATE runs SET
    agent_id = ?, model = ?, status = ?, ended_at = ?, finish_reason = ?, error_code = ?, usage = ?,
    error_message = ?
WHERE run_id = ? AND session_key = ? AND started_at = ?
"""
_RUN_COLUMNS = """
run_id, session_key, agent_id, model, status, started_at, ended_at, finish_reason, error_code, usage,
error_message
"""
_FIND_RUN = f"SELECT {_RUN_COLUMNS} FROM runs WHERE run_id = ?"  # noqa: S608  names of columns
_RUNS_OF_SESSION = f"""
SELECT {_RUN_COLUMNS} FROM runs WHERE session_key = ? ORDER BY started_at DESC, run_id LIMIT ?
"""  # noqa: S608
_NEWEST_RUNS = f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY started_at DESC, run_id LIMIT ?"  # noqa: S608
_INTERRUPT_RUNS = """
UPDATE runs SET status = 'interrupted', ended_at = ? WHERE status IN ('queued', 'running')
"""
_RUNS_WITHOUT_END = "SELECT run_id FROM runs WHERE status IN ('queued', 'running')"
_INTERRUPT_RUN = "UPDATE runs SET status = 'interrupted', ended_at = ? WHERE run_id = ?"
_NEWEST_MESSAGES = """
SELECT seq, run_id, at, CAST(coalesce(body, '') AS BLOB), interrupted FROM messages
WHERE session_key = ?1 AND seq < ?2
    AND seq > max(?4, coalesce((SELECT archived_seq FROM sessions WHERE session_key = ?1), 0))
ORDER BY seq DESC LIMIT ?3
"""
_OLDEST_TEXTS = """
SELECT rowid FROM messages
WHERE session_key = ? AND seq > ? AND seq < ? AND typeof(body) = 'text' ORDER BY seq
"""
_TEXTS = """
SELECT rowid, seq FROM messages
WHERE session_key = ? AND seq > ? AND typeof(body) = 'text' ORDER BY seq DESC
"""
_PUT_CLAIM = """
INSERT OR REPLACE INTO claims (scope, key, digest, run_id, at, answer_seq) VALUES (?, ?, ?, ?, ?, ?)
"""
_FORGET_CLAIMS = """
DELETE FROM claims WHERE at < max(?, coalesce((SELECT at FROM claims ORDER BY at DESC LIMIT 1 OFFSET ?), 0))
"""
_FIND_CLAIM = "SELECT digest, run_id, answer_seq FROM claims WHERE scope = ? AND key = ? AND at > ?"
_FIND_MESSAGE = """
SELECT CAST(coalesce(body, '') AS BLOB) FROM messages WHERE session_key = ? AND seq = ?
"""

ALL = 2**63 - 1
"""Greater than every seq, and than any number of messages."""

_HEAD_BYTES = 24
_ROLE = re.compile(rb'\{"role":"(\w+)"')  # the first field of a message is the one that is always there
_ROLES: dict[bytes, Role] = {b"system": "system", b"user": "user", b"assistant": "assistant", b"tool": "tool"}

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_usage = msgspec.json.Decoder(Usage).decode


def record(connection: Connection, turn: TurnRecord, limits: ClaimLimits) -> None:
    """Append a turn to its session and put its run, and its claim, on record.

    Raises `UnicodeEncodeError` for text that is not Unicode.
    """
    run, messages = turn.run, turn.messages
    connection.execute(_TOUCH_SESSION, _session_row(run, messages))
    last_seq = None
    if messages:
        (last_seq,) = connection.execute(_LAST_SEQ, (run.session_key,)).fetchone()
        connection.executemany(_ADD_MESSAGE, _message_rows(turn, last_seq - len(messages)))
    _end_run(connection, run)
    if turn.claim is not None:
        answered = bool(messages) and run.status == "finished"
        _put_claim(connection, (*_claim_row(turn.claim, run), last_seq if answered else None), limits)


def _message_rows(turn: TurnRecord, after_seq: int) -> Iterator[tuple[Any, ...]]:
    run = turn.run
    for stored in stored_messages(turn, after_seq):
        body = _encode(stored.message).decode()
        yield (run.session_key, stored.seq, run.run_id, stored.at, stored.interrupted, body)


def begin(connection: Connection, run: RunRecord, claim: Claim | None, limits: ClaimLimits) -> None:
    """Put a run that has no end yet on record, and its session and its claim with it."""
    connection.execute(_TOUCH_SESSION, _session_row(run, None))
    connection.execute(_PUT_RUN, _run_row(run))
    if claim is not None:
        _put_claim(connection, (*_claim_row(claim, run), None), limits)


def interrupt_runs(connection: Connection, at: float) -> int:
    """Mark the runs that have no end yet as interrupted at `at`; return how many."""
    return connection.execute(_INTERRUPT_RUNS, (at,)).rowcount


def lost_runs(connection: Connection, running: frozenset[str], at: float) -> int:
    """Mark the runs that have no end and are not `running` as interrupted at `at`; return how many."""
    lost = [(at, run_id) for (run_id,) in connection.execute(_RUNS_WITHOUT_END) if run_id not in running]
    connection.executemany(_INTERRUPT_RUN, lost)
    return len(lost)


def history(
    connection: Connection,
    session_key: str,
    limit: int,
    *,
    before_seq: int | None = None,
    max_characters: int | None = None,
) -> tuple[tuple[StoredMessage, ...], tuple[int, ...]]:
    """Return the newest messages of a session, oldest first, and the seqs of those that are unreadable."""
    unreadable: list[int] = []
    newest_first = messages_before(connection, session_key, limit, unreadable, before_seq=before_seq)
    return tuple(enough(newest_first, max_characters=max_characters)), tuple(unreadable)


def messages_before(  # noqa: PLR0913 - which messages
    connection: Connection,
    session_key: str,
    limit: int,
    unreadable: list[int],
    *,
    before_seq: int | None = None,
    after_seq: int = 0,
) -> Iterator[StoredMessage]:
    """Yield the messages of a session's conversation, newest first; put unreadable ones' seqs in the list."""
    before = ALL if before_seq is None else before_seq
    cursor = connection.execute(_NEWEST_MESSAGES, (session_key, before, max(limit, 0), after_seq))
    for seq, run_id, at, body, interrupted in cursor:
        try:
            message = _decode_message(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            unreadable.append(seq)
        else:
            yield StoredMessage(seq=seq, run_id=run_id, at=at, message=message, interrupted=bool(interrupted))


def opening(
    connection: Connection, session_key: str, *, after_seq: int, before_seq: int
) -> Iterator[Message]:
    """Yield the system messages from after one seq on and before another, up to the first message of a user.

    What others say is not read.
    """
    for (rowid,) in connection.execute(_OLDEST_TEXTS, (session_key, after_seq, before_seq)):
        with connection.blobopen("messages", "body", rowid, readonly=True) as body:
            found = _ROLE.match(body.read(_HEAD_BYTES))
            if found is None or found[1] != b"system":
                return
            body.seek(0)
            text = body.read()
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield _decode_message(text)


def roles(connection: Connection, session_key: str, *, after_seq: int) -> Iterator[tuple[int, Role]]:
    """Yield the seqs and roles of a session's messages, newest first; what they say is not read.

    Those that are damaged are left out.
    """
    for rowid, seq in connection.execute(_TEXTS, (session_key, after_seq)):
        with connection.blobopen("messages", "body", rowid, readonly=True) as body:
            found = _ROLE.match(body.read(_HEAD_BYTES))
        if found is not None and found[1] in _ROLES:
            yield seq, _ROLES[found[1]]


def find_run(connection: Connection, run_id: str) -> RunRecord | None:
    """Return what is kept of a run."""
    row = connection.execute(_FIND_RUN, (run_id,)).fetchone()
    return None if row is None else _run(row)


def list_runs(connection: Connection, session_key: str | None, limit: int) -> tuple[RunRecord, ...]:
    """Return the newest runs, of one session or of all, the newest first."""
    if session_key is None:
        found = connection.execute(_NEWEST_RUNS, (max(limit, 0),))
    else:
        found = connection.execute(_RUNS_OF_SESSION, (session_key, max(limit, 0)))
    return tuple(map(_run, found))


def recall(connection: Connection, scope: str, key: str, since: float) -> Recollection | None:
    """Return what became of the run that has claimed a key since then."""
    claimed = connection.execute(_FIND_CLAIM, (scope, key, since)).fetchone()
    if claimed is None:
        return None
    digest, run_id, answer_seq = claimed
    run = find_run(connection, run_id)
    if run is None:
        return None
    answer = None
    if answer_seq is not None:
        found = connection.execute(_FIND_MESSAGE, (run.session_key, answer_seq)).fetchone()
        try:
            answer = None if found is None else _decode_message(found[0])
        except (msgspec.DecodeError, UnicodeDecodeError):  # as if it had been forgotten
            return None
    return Recollection(claim=Claim(scope=scope, key=key, digest=digest), run=run, answer=answer)


def _put_claim(connection: Connection, row: tuple[Any, ...], limits: ClaimLimits) -> None:
    connection.execute(_PUT_CLAIM, row)
    at = row[4]
    connection.execute(_FORGET_CLAIMS, (at - limits.keep_seconds, max(limits.max_kept - 1, 0)))


def _session_row(run: RunRecord, messages: tuple[Message, ...] | None) -> tuple[Any, ...]:
    """Return the session's row; `messages` is None at the beginning of a run, which counts nothing yet."""
    usage = run.usage if messages is not None else None
    at = changed_at(run)
    stateless = is_stateless(run.session_key)
    told = None if stateless else messages  # nobody looks for a request by what it said
    return (
        run.session_key,
        run.agent_id,
        stateless,
        new_id() if stateless else str(uuid.uuid4()),  # people call sessions by how their ids begin
        run.started_at,
        run.started_at,
        at,
        len(messages or ()),
        title_of(told) if told else None,
        preview_of(told) if told else None,
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
        usage.total_tokens if usage else 0,
        usage.total_tokens if usage else None,
    )


def _end_run(connection: Connection, run: RunRecord) -> None:
    """Put a run that has ended on record; one that was there loses its place in no index that it stays in."""
    row = _run_row(run)
    run_id, session_key, agent_id, model, status, started_at, *rest = row
    ended = (agent_id, model, status, *rest, run_id, session_key, started_at)
    if is_stateless(session_key) or not connection.execute(_END_RUN, ended).rowcount:
        connection.execute(_PUT_RUN, row)


def _run_row(run: RunRecord) -> tuple[Any, ...]:
    """Return the run in the order of the statements' columns, which is the order of its fields."""
    *fields, usage, error_message = msgspec.structs.astuple(run)
    return (*fields, None if usage is None else _encode(usage).decode(), error_message)


def _claim_row(claim: Claim, run: RunRecord) -> tuple[Any, ...]:
    return (claim.scope, claim.key, claim.digest, run.run_id, changed_at(run))


def _run(row: tuple[Any, ...]) -> RunRecord:
    fields = dict(zip(RunRecord.__struct_fields__, row, strict=True))
    if fields["usage"] is not None:
        try:
            fields["usage"] = _decode_usage(fields["usage"])
        except msgspec.DecodeError:  # counts that are damaged are no reason to deny the run
            fields["usage"] = None
    return RunRecord(**fields)
