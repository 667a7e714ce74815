"""Sessions as rows: listed, changed, reset and compacted (`schema/` has the tables)."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from itertools import islice
from math import inf
from sqlite3 import Connection
from typing import Any, Final

import msgspec

from openclaw_twisted.boundaries import (
    Conversation,
    Retention,
    SessionPage,
    SessionPatch,
    SessionQuery,
    SessionRow,
)
from openclaw_twisted.content import Message
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.records import MAX_HISTORY_CHARACTERS, MAX_HISTORY_MESSAGES
from openclaw_twisted.sessions import rows
from openclaw_twisted.sessions.tails import Tail, Tails
from openclaw_twisted.sessions.turns import agent_of, chosen, enough, first_kept, folded, is_stateless

__all__ = [
    "compact",
    "conversation",
    "find",
    "find_by",
    "list_by_agent",
    "list_sessions",
    "patch",
    "reset",
    "size_bytes",
    "surplus",
]

_COLUMNS: Final = """
session_key, agent_id, session_id, created_at, started_at, updated_at, last_seq - archived_seq, last_seq,
title, preview, label, model, thinking_level, verbose_level, options, input_tokens, output_tokens,
total_tokens, context_tokens
"""
_BY_KEY = f"SELECT {_COLUMNS} FROM sessions WHERE session_key = ?"  # noqa: S608  names of columns
_BY_ID = f"SELECT {_COLUMNS} FROM sessions WHERE session_id = ?"  # noqa: S608
_BY_LABEL = f"SELECT {_COLUMNS} FROM sessions WHERE label = ?"  # noqa: S608
_NEWEST_FIRST = """
SELECT agent_id, session_key FROM sessions WHERE stateless = ? ORDER BY updated_at DESC, session_key
"""
_CREATE = """
INSERT INTO sessions
    (session_key, agent_id, stateless, session_id, created_at, started_at, updated_at, last_seq)
VALUES (?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT (session_key) DO UPDATE SET updated_at = max(updated_at, excluded.updated_at)
"""
_CHANGE = """
UPDATE sessions SET label = ?, model = ?, thinking_level = ?, verbose_level = ?, options = ?
WHERE session_key = ?
"""
_LABELLED = "SELECT session_key FROM sessions WHERE label = ? AND session_key != ?"
_ARCHIVE = """
INSERT OR REPLACE INTO archives (session_key, last_seq, session_id, reason, archived_at)
SELECT session_key, ?, session_id, ?, ? FROM sessions WHERE session_key = ?
"""
_START_AFRESH = """
UPDATE sessions SET
    session_id = ?, started_at = ?, archived_seq = last_seq, title = NULL, preview = NULL,
    input_tokens = 0, output_tokens = 0, total_tokens = 0, context_tokens = NULL
WHERE session_key = ?
"""
_CUT = "UPDATE sessions SET archived_seq = ?, context_tokens = NULL WHERE session_key = ?"
_COUNT_NAMED = "SELECT count(*) FROM sessions WHERE stateless = 0"
_COUNT_UNUSED = "SELECT count(*) FROM sessions WHERE stateless = 0 AND updated_at < ?"
_COUNT_STATELESS = "SELECT count(*) FROM sessions WHERE stateless = 1 AND updated_at < ?"
_COUNT_ARCHIVES = "SELECT count(*) FROM archives WHERE archived_at < ?"

_decode_options = msgspec.json.Decoder(dict[str, Any]).decode


def find(connection: Connection, session_key: str) -> SessionRow | None:
    """Return the session of this key."""
    return _first(connection, _BY_KEY, session_key)


def find_by(connection: Connection, session_id: str | None, label: str | None) -> SessionRow | None:
    """Return the session of this id, or else of this label."""
    found = _first(connection, _BY_ID, session_id) if session_id is not None else None
    return found or (_first(connection, _BY_LABEL, label) if label is not None else None)


def conversation(
    connection: Connection, session_key: str, max_tokens: int | None, tails: Tails
) -> tuple[Conversation, tuple[int, ...]]:
    """Return a session with its newest messages, and the seqs of those that are unreadable."""
    session = find(connection, session_key)
    if session is None or not session.message_count:
        return Conversation(session=session), ()
    wanted = inf if max_tokens is None else max_tokens
    archived_seq = session.last_seq - session.message_count
    unreadable: list[int] = []
    tail = tails.take(session)
    if tail is not None:
        newer = rows.messages_before(connection, session_key, rows.ALL, unreadable, after_seq=tail.last_seq)
        tail.add(reversed([*newer]))
        tail.cut(archived_seq, wanted)
    if tail is None or not tail.reaches(archived_seq, wanted):
        tail = Tail(session.session_id)
        unreadable.clear()
        newest_first = rows.messages_before(connection, session_key, MAX_HISTORY_MESSAGES, unreadable)
        tail.add(enough(newest_first, max_characters=MAX_HISTORY_CHARACTERS, max_tokens=max_tokens))
    if not unreadable:  # or it would not be told again
        tails.keep(session, tail)
    opening: tuple[Message, ...] = ()
    if tail.messages and (first := tail.messages[0].seq) > archived_seq + 1:
        opening = tuple(rows.opening(connection, session_key, after_seq=archived_seq, before_seq=first))
    found = Conversation(session=session, messages=tuple(tail.messages), tokens=tail.tokens, opening=opening)
    return found, tuple(unreadable)


def list_sessions(connection: Connection, query: SessionQuery) -> SessionPage:
    """Return the sessions that match, the most recently updated first."""
    where, values = _conditions(query)
    limit = max(query.limit, 0)
    listing = f"""
        SELECT {_COLUMNS} FROM sessions {where} ORDER BY updated_at DESC, session_key LIMIT ? OFFSET ?
    """  # noqa: S608  the conditions are ours, the values are bound
    found = connection.execute(listing, (*values, limit, max(query.offset, 0)))
    page = tuple(map(_row, found))
    (total,) = connection.execute(f"SELECT count(*) FROM sessions {where}", values).fetchone()  # noqa: S608
    return SessionPage(rows=page, total=total)


def list_by_agent(connection: Connection, limit: int) -> dict[str, SessionPage]:
    """Return, for each agent with sessions, the ones that were updated last."""
    # One walk along an index: what each agent has is counted here, since in SQL it would all be sorted first.
    keys: defaultdict[str, list[str]] = defaultdict(list)
    totals: Counter[str] = Counter()
    for agent_id, session_key in connection.execute(_NEWEST_FIRST, (False,)):
        totals[agent_id] += 1
        if totals[agent_id] <= limit:
            keys[agent_id].append(session_key)
    found = {agent_id: (find(connection, key) for key in newest) for agent_id, newest in keys.items()}
    return {
        agent_id: SessionPage(rows=tuple(filter(None, found.get(agent_id, ()))), total=total)
        for agent_id, total in totals.items()
    }


def patch(connection: Connection, session_key: str, change: SessionPatch, at: float) -> SessionRow:
    """Change what was chosen for a session; raises `InvalidRequestError` for a label in use."""
    before = _created(connection, session_key, at)
    after = msgspec.structs.replace(before, **chosen(change, before.options))
    if after.label is not None and connection.execute(_LABELLED, (after.label, session_key)).fetchone():
        raise InvalidRequestError(f"label already in use: {after.label}")
    options = msgspec.json.encode(after.options).decode()
    connection.execute(
        _CHANGE, (after.label, after.model, after.thinking_level, after.verbose_level, options, session_key)
    )
    return after


def reset(connection: Connection, session_key: str, at: float) -> SessionRow:
    """Archive a session's messages and let it start afresh."""
    before = _created(connection, session_key, at)
    if before.message_count:
        connection.execute(_ARCHIVE, (before.last_seq, "reset", at, session_key))
    connection.execute(_START_AFRESH, (str(uuid.uuid4()), at, session_key))
    after = find(connection, session_key)
    assert after is not None
    return after


def compact(connection: Connection, session_key: str, keep: int, at: float) -> int:
    """Archive all but the newest messages, whole turns at a time; return how many."""
    session = find(connection, session_key)
    if session is None or session.message_count <= keep:
        return 0
    newest_first = rows.roles(connection, session_key, after_seq=session.last_seq - session.message_count)
    tail = list(islice(newest_first, max(keep, 0) + 1))
    # The last turn may be longer than what is to be kept: go on until its beginning is in sight.
    while True:
        oldest_first = [Message(role=role) for _, role in reversed(tail)]
        first = first_kept(oldest_first, keep)
        if first > 0:
            break
        more = list(islice(newest_first, len(tail) + 1))
        if not more:
            return 0
        tail += more
    cut = tail[len(tail) - 1 - first][0] - 1
    connection.execute(_ARCHIVE, (cut, "compact", at, session_key))
    connection.execute(_CUT, (cut, session_key))
    return cut - (session.last_seq - session.message_count)


def size_bytes(connection: Connection) -> int:
    """Return how much of the file is in use: what deleted rows leave is used again."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)


def surplus(connection: Connection, retention: Retention) -> dict[str, int]:
    """Return how many sessions and archives are too old or too many, and the size of the store."""

    def counted(statement: str, before: float | None) -> int:
        return 0 if before is None else int(connection.execute(statement, (before,)).fetchone()[0])

    unused = counted(_COUNT_UNUSED, retention.unused_before)
    (count,) = connection.execute(_COUNT_NAMED).fetchone()
    too_many = 0 if retention.max_sessions is None else count - retention.max_sessions
    return {
        "stateless": counted(_COUNT_STATELESS, retention.stateless_before),
        "sessions": max(unused, too_many),
        "archives": counted(_COUNT_ARCHIVES, retention.archived_before),
        "size_bytes": size_bytes(connection),
    }


def _created(connection: Connection, session_key: str, at: float) -> SessionRow:
    """Return the session, which is there and was updated at `at` or later."""
    connection.execute(
        _CREATE,
        (session_key, agent_of(session_key), is_stateless(session_key), str(uuid.uuid4()), at, at, at),
    )
    row = find(connection, session_key)
    assert row is not None
    return row


def _conditions(query: SessionQuery) -> tuple[str, tuple[Any, ...]]:
    conditions: list[str] = []
    values: list[Any] = []
    if not query.stateless:
        conditions.append("stateless = 0")
    if query.agent_id is not None:
        conditions.append("agent_id = ?")
        values.append(query.agent_id)
    if query.active_since is not None:
        conditions.append("updated_at >= ?")
        values.append(query.active_since)
    if query.search:
        columns = ("session_key", "session_id", "label", "title")
        matches = " OR ".join(f"instr(lower({column}), ?)" for column in columns)
        conditions.append(f"({matches})")
        values += [folded(query.search)] * len(columns)
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), tuple(values)


def _first(connection: Connection, statement: str, value: str) -> SessionRow | None:
    row = connection.execute(statement, (value,)).fetchone()
    return None if row is None else _row(row)


def _row(row: tuple[Any, ...]) -> SessionRow:
    fields = dict(zip(SessionRow.__struct_fields__, row, strict=True))
    try:
        fields["options"] = {} if fields["options"] == "{}" else _decode_options(fields["options"])
    except msgspec.DecodeError:  # choices that are damaged are no reason to deny the session
        fields["options"] = {}
    return SessionRow(**fields)
