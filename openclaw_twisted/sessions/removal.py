"""Sessions and archives deleted, a little at a time.

What is deleted is overwritten, so to delete much takes seconds, and every commit waits in the same queue. So
a step that has used up its time leaves the rest to the next one. A session that takes several is emptied in
the first: whoever comes back to it meanwhile finds a fresh one, and what a stop leaves behind is an archive,
the first to go.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from itertools import islice
from math import inf
from sqlite3 import Connection
from typing import Final, NamedTuple

from openclaw_twisted.boundaries import Retention
from openclaw_twisted.session_key import RESPONSE
from openclaw_twisted.sessions.rows import ALL

__all__ = ["Progress", "delete", "prune_archives", "prune_stateless", "prune_unused"]

_MESSAGES_AT_ONCE: Final = 64
_RUNS_AT_ONCE: Final = 500

_MESSAGES = "SELECT seq FROM messages WHERE session_key = ? AND seq <= ? ORDER BY seq LIMIT ?"
_DELETE_MESSAGE = "DELETE FROM messages WHERE session_key = ? AND seq = ?"
_DELETE_RUNS = """
DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs WHERE session_key = ? LIMIT ?)
"""
_DELETE_ARCHIVES = "DELETE FROM archives WHERE session_key = ? AND last_seq <= ?"
_DELETE_SESSION = "DELETE FROM sessions WHERE session_key = ?"
_ARCHIVE_REST = """
INSERT OR REPLACE INTO archives (session_key, last_seq, session_id, reason, archived_at)
SELECT session_key, last_seq, session_id, 'delete', -1 FROM sessions
WHERE session_key = ? AND last_seq > archived_seq
"""
_EMPTY = """
UPDATE sessions SET
    session_id = ?, archived_seq = last_seq, title = NULL, preview = NULL,
    input_tokens = 0, output_tokens = 0, total_tokens = 0, context_tokens = NULL
WHERE session_key = ? AND last_seq > archived_seq
"""
_STALE_STATELESS = """
SELECT session_key FROM sessions WHERE stateless = 1 AND updated_at < ? ORDER BY updated_at LIMIT ?
"""
_LONGEST_UNUSED = """
SELECT session_key, updated_at FROM sessions WHERE stateless = 0 ORDER BY updated_at, session_key DESC
"""
_LONGEST_UNUSED_RESPONSES = f"""
SELECT session_key FROM sessions WHERE stateless = 0 AND session_key LIKE 'agent:%:{RESPONSE}%'
ORDER BY updated_at, session_key DESC
"""  # noqa: S608 - a constant of ours
_COUNT_NAMED = "SELECT count(*) FROM sessions WHERE stateless = 0"
_OLDEST_ARCHIVES = """
SELECT session_key, last_seq FROM archives WHERE archived_at < ? ORDER BY archived_at LIMIT ?
"""


class Progress(NamedTuple):
    """How many a step has deleted, and whether there is more to do."""

    deleted: int
    more: bool


def delete(connection: Connection, session_key: str, *, seconds: float = inf) -> Progress:
    """Delete a session with everything in it: none if there was none, or if that takes another step."""
    return _delete(connection, session_key, _over_in(seconds))


def prune_stateless(connection: Connection, before: float, limit: int, *, seconds: float = inf) -> Progress:
    """Delete at most `limit` sessions of one request that were last used before."""
    stale = connection.execute(_STALE_STATELESS, (before, limit)).fetchall()
    return _delete_each(connection, (key for (key,) in stale), len(stale) == limit, _over_in(seconds))


def prune_unused(
    connection: Connection,
    retention: Retention,
    limit: int,
    *,
    for_size: bool = False,
    seconds: float = inf,
) -> Progress:
    """Delete at most `limit` sessions that are too old or too many.

    Of too many, those of responses go first: a client that never continues one leaves one behind with each
    request. `for_size` deletes the longest unused ones whatever their age and number.
    """
    (count,) = connection.execute(_COUNT_NAMED).fetchone()
    too_many = 0 if retention.max_sessions is None else count - retention.max_sessions
    victims = dict.fromkeys(_responses(connection, min(too_many, limit), retention.keep))
    for session_key, updated_at in connection.execute(_LONGEST_UNUSED):
        old = retention.unused_before is not None and updated_at < retention.unused_before
        if len(victims) >= limit or not (for_size or old or len(victims) < too_many):
            break
        if session_key not in retention.keep:
            victims[session_key] = None
    return _delete_each(connection, victims, len(victims) == limit, _over_in(seconds))


def prune_archives(connection: Connection, before: float, limit: int, *, seconds: float = inf) -> Progress:
    """Delete at most `limit` archives made before."""
    over = _over_in(seconds)
    oldest = connection.execute(_OLDEST_ARCHIVES, (before, limit)).fetchall()
    for count, (session_key, last_seq) in enumerate(oldest):
        if not _delete_messages(connection, session_key, last_seq, over):
            return Progress(count, more=True)
        connection.execute(_DELETE_ARCHIVES, (session_key, last_seq))
    return Progress(len(oldest), more=len(oldest) == limit)


def _over_in(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _delete_each(
    connection: Connection, session_keys: Iterable[str], more: bool, over: Callable[[], bool]
) -> Progress:
    """Delete these sessions; `more` says that there are others."""
    count = 0
    for session_key in session_keys:
        progress = _delete(connection, session_key, over)
        if progress.more:
            return Progress(count, more=True)
        count += 1
    return Progress(count, more)


def _delete(connection: Connection, session_key: str, over: Callable[[], bool]) -> Progress:
    if not (
        _delete_messages(connection, session_key, ALL, over) and _delete_runs(connection, session_key, over)
    ):
        connection.execute(_ARCHIVE_REST, (session_key,))
        connection.execute(_EMPTY, (str(uuid.uuid4()), session_key))
        return Progress(0, more=True)
    connection.execute(_DELETE_ARCHIVES, (session_key, ALL))
    return Progress(connection.execute(_DELETE_SESSION, (session_key,)).rowcount, more=False)


def _delete_messages(
    connection: Connection, session_key: str, last_seq: int, over: Callable[[], bool]
) -> bool:
    """Delete the messages up to that one; tell whether there was time to see that none is left."""
    while True:
        some = connection.execute(_MESSAGES, (session_key, last_seq, _MESSAGES_AT_ONCE)).fetchall()
        for (seq,) in some:
            connection.execute(_DELETE_MESSAGE, (session_key, seq))
            if over():  # one is always deleted, or a busy machine would never come to an end
                return False
        if len(some) < _MESSAGES_AT_ONCE:
            return True


def _delete_runs(connection: Connection, session_key: str, over: Callable[[], bool]) -> bool:
    """Delete the session's runs; tell whether there was time to see that none is left."""
    while connection.execute(_DELETE_RUNS, (session_key, _RUNS_AT_ONCE)).rowcount == _RUNS_AT_ONCE:
        if over():
            return False
    return True


def _responses(connection: Connection, count: int, keep: AbstractSet[str]) -> list[str]:
    if count <= 0:
        return []
    found = (session_key for (session_key,) in connection.execute(_LONGEST_UNUSED_RESPONSES))
    return list(islice((session_key for session_key in found if session_key not in keep), count))
