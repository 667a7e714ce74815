"""The default store: one SQLite file, one thread that writes it, one that reads it.

What `commit` and `begin` acknowledge has been fsync'd (`PRAGMA synchronous = FULL`); many of them share
one fsync when they come together (`threads`). Stateless turns are gathered and written behind (`notes`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from openclaw_twisted.boundaries import (
    Claim,
    Conversation,
    Pruned,
    Recollection,
    Retention,
    RunRecord,
    SessionPage,
    SessionPatch,
    SessionQuery,
    SessionRow,
    SessionStore,
    StoredMessage,
    TurnRecord,
)
from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions import removal, rows, session_rows
from openclaw_twisted.sessions.database import Database, storage_error
from openclaw_twisted.sessions.disk import DiskWatch
from openclaw_twisted.sessions.notes import Clock, Notes
from openclaw_twisted.sessions.removal import Progress
from openclaw_twisted.sessions.tails import Tails
from openclaw_twisted.sessions.threads import ConnectionThread, FromThreads, in_one_transaction, one_by_one
from openclaw_twisted.sessions.turns import ClaimLimits

__all__ = ["SqliteStore", "StoreReactor"]

# So much of the writer's time is taken at once; commits get their turn in between.
_REMOVAL_SECONDS = 0.02
_REMOVED_AT_ONCE = 1000
_FOREVER = float("inf")

T = TypeVar("T")


class StoreReactor(FromThreads, Clock, Protocol):
    """The part of a reactor that the store uses."""


@dataclass(frozen=True)
class _Open:
    """What an open store has and a closed one lacks."""

    writer: ConnectionThread
    reader: ConnectionThread
    notes: Notes
    disk: DiskWatch
    tails: Tails


class SqliteStore:
    """Sessions and runs in the SQLite file `path`; its directory is created when it is missing.

    `now` tells seconds since the epoch. Every method raises `StorageError` while the store is not open.
    Cancelling a write drops its outcome, not the write.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: StoreReactor,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        claims: ClaimLimits = ClaimLimits(),  # noqa: B008  a tuple of constants
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._now = now
        self._claims = claims
        self._changing = DeferredLock()
        self._state: _Open | None = None

    async def open(self) -> None:
        """Lock and open the file; one that is damaged is set aside and a fresh one takes its place."""
        async with self._changing:
            if self._state is not None:
                raise StorageError(f"{self._path} is open already. Close the store before opening it again.")
            tell = partial(self._reactor.callFromThread, self._tell_upgrade)
            database = Database(self._path, self._now, tell)
            self._state = await self._start(database)
        self._report(database)

    async def close(self) -> None:
        """Write what waits, notes included, and let go of the file; closing twice is harmless."""
        async with self._changing:
            state, self._state = self._state, None
            if state is None:
                return
            state.notes.close()
            state.disk.stop()
            try:
                await state.reader.stop()
            finally:
                await state.writer.stop()

    @property
    def disk_works(self) -> bool:
        """Whether the disk took what was written last; while it did not, that is tried every second."""
        return self._state is None or self._state.disk.works

    async def conversation(self, session_key: str, *, max_tokens: int | None = None) -> Conversation:
        """Return a session with its newest messages; damaged ones are left out and logged."""
        found, unreadable = await self._read(
            partial(
                session_rows.conversation,
                session_key=session_key,
                max_tokens=max_tokens,
                tails=self._opened().tails,
            )
        )
        self._tell_unreadable(session_key, unreadable)
        return found

    async def history(
        self,
        session_key: str,
        limit: int = 1000,
        *,
        before_seq: int | None = None,
        max_characters: int | None = None,
    ) -> tuple[StoredMessage, ...]:
        """Return the newest `limit` messages, oldest first; damaged ones are left out and logged."""
        messages, unreadable = await self._read(
            partial(
                rows.history,
                session_key=session_key,
                limit=limit,
                before_seq=before_seq,
                max_characters=max_characters,
            )
        )
        self._tell_unreadable(session_key, unreadable)
        return messages

    async def begin(self, run: RunRecord, claim: Claim | None = None) -> None:
        """Record that a run started; durable when it returns."""
        await self._write(partial(rows.begin, run=run, claim=claim, limits=self._claims))

    async def commit(self, turn: TurnRecord) -> None:
        """Append a turn to its session and record how its run ended; durable when it returns."""
        await self._write(partial(rows.record, turn=turn, limits=self._claims))

    def note(self, turn: TurnRecord) -> None:
        """Record a stateless run within a second or so; a disk that cannot keep up costs the oldest."""
        self._opened().notes.add(turn)

    async def session(self, session_key: str) -> SessionRow | None:
        """Return a session, None when there is none of this key."""
        return await self._read(partial(session_rows.find, session_key=session_key))

    async def find_session(
        self, *, session_id: str | None = None, label: str | None = None
    ) -> SessionRow | None:
        """Return the session of this id, or else of this label."""
        return await self._read(partial(session_rows.find_by, session_id=session_id, label=label))

    async def sessions(self, query: SessionQuery | None = None) -> SessionPage:
        """Return the sessions that match, the most recently updated first."""
        return await self._read(partial(session_rows.list_sessions, query=query or SessionQuery()))

    async def sessions_by_agent(self, limit: int) -> Mapping[str, SessionPage]:
        """Return, for each agent with sessions, the ones that were updated last."""
        return await self._read(partial(session_rows.list_by_agent, limit=limit))

    async def patch(self, session_key: str, patch: SessionPatch, at: float) -> SessionRow:
        """Change what somebody chose for a session, which is created if need be."""
        return await self._write(partial(session_rows.patch, session_key=session_key, change=patch, at=at))

    async def reset(self, session_key: str, at: float) -> SessionRow:
        """Archive a session's messages and let it start afresh."""
        return await self._write(partial(session_rows.reset, session_key=session_key, at=at))

    async def compact(self, session_key: str, keep: int, at: float) -> int:
        """Archive all but the newest `keep` messages, whole turns at a time; return how many."""
        return await self._write(partial(session_rows.compact, session_key=session_key, keep=keep, at=at))

    async def delete(self, session_key: str) -> bool:
        """Delete a session with everything in it; tell whether there was one.

        Cancelling leaves what takes further steps; nobody is to use the session meanwhile.
        """
        return await self._repeat(partial(removal.delete, session_key=session_key)) > 0

    async def run(self, run_id: str) -> RunRecord | None:
        """Return what is kept of a run."""
        return await self._read(partial(rows.find_run, run_id=run_id))

    async def runs(self, session_key: str | None = None, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the newest runs, of one session or of all, the newest first."""
        return await self._read(partial(rows.list_runs, session_key=session_key, limit=limit))

    async def recall(self, scope: str, key: str) -> Recollection | None:
        """Return what became of the run behind an idempotency key that is not forgotten yet."""
        since = self._now() - self._claims.keep_seconds
        return await self._read(partial(rows.recall, scope=scope, key=key, since=since))

    async def prune(self, retention: Retention) -> Pruned:
        """Delete what may go, a little at a time, so that commits need not wait; return how much it was."""
        counted: dict[str, int] = {}
        if retention.running is not None:
            lost = partial(rows.lost_runs, running=retention.running, at=self._now())
            counted["runs"] = await self._write(lost)
        if (before := retention.stateless_before) is not None:
            stateless = partial(removal.prune_stateless, before=before, limit=_REMOVED_AT_ONCE)
            counted["stateless"] = await self._repeat(stateless)
        before = retention.archived_before or 0.0  # what a removal that was cut off has left behind
        archives = partial(removal.prune_archives, before=before, limit=_REMOVED_AT_ONCE)
        counted["archives"] = await self._repeat(archives)
        unused = partial(removal.prune_unused, retention=retention, limit=_REMOVED_AT_ONCE)
        counted["sessions"] = await self._repeat(unused)
        await self._shrink(retention, counted)
        size = await self._read(session_rows.size_bytes)
        return Pruned(**counted, size_bytes=size)

    async def surplus(self, retention: Retention) -> Pruned:
        """Tell what `prune` would delete because of age and number, and how large the store is."""
        return Pruned(**await self._read(partial(session_rows.surplus, retention=retention)))

    async def _shrink(self, retention: Retention, counted: dict[str, int]) -> None:
        """Delete archives, then the longest unused sessions, until the store is small enough."""
        limit, target = retention.max_bytes, retention.target_bytes
        if limit is None or await self._read(session_rows.size_bytes) <= limit:
            return
        steps = {
            "archives": partial(removal.prune_archives, before=_FOREVER, limit=1),
            "sessions": partial(removal.prune_unused, retention=retention, limit=1, for_size=True),
        }
        for kind, step in steps.items():
            while await self._read(session_rows.size_bytes) > (limit if target is None else target):
                count, more = await self._write(partial(step, seconds=_REMOVAL_SECONDS))
                counted[kind] = counted.get(kind, 0) + count
                if not more:
                    break

    async def _repeat(self, step: Callable[..., Progress]) -> int:
        """Take a step again and again until nothing is left to do; return how many it deleted in all."""
        total = 0
        while True:
            count, more = await self._write(partial(step, seconds=_REMOVAL_SECONDS))
            total += count
            if not more:
                return total

    async def _start(self, database: Database) -> _Open:
        writer = ConnectionThread(
            self._reactor,
            "sessions-writer",
            connect=database.open,
            work=in_one_transaction,
            disconnect=database.close,
        )
        reader = ConnectionThread(
            self._reactor,
            "sessions-reader",
            connect=database.open_read_only,
            work=one_by_one,
            disconnect=Connection.close,
        )
        with self._explaining():
            await writer.start()
            try:
                await reader.start()
            except BaseException:  # cancelled included: the lock goes with the writer
                await writer.stop()
                raise
        disk = DiskWatch(self._reactor, self._path, writer.submit)

        def write(turns: Sequence[TurnRecord]) -> Deferred[list[Any]]:
            calls = [partial(rows.record, turn=turn, limits=self._claims) for turn in turns]
            return disk.follow_all(writer.submit_all(calls))

        return _Open(writer, reader, Notes(self._reactor, write), disk, Tails())

    async def _write(self, call: Callable[[Connection], T]) -> T:
        state = self._opened()
        with self._explaining():
            return await state.disk.follow(state.writer.submit(call))

    async def _read(self, call: Callable[[Connection], T]) -> T:
        with self._explaining():
            return await self._opened().reader.submit(call)

    def _opened(self) -> _Open:
        if self._state is None:
            raise StorageError(
                f"{self._path} is closed: the gateway is starting or stopping. Try again soon."
            )
        return self._state

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError, OverflowError) as error:
            raise storage_error(self._path, error) from error

    def _tell_unreadable(self, session_key: str, seqs: tuple[int, ...]) -> None:
        for seq in seqs:
            self._log.error(
                "Message {seq} of session {session_key} in {path} is damaged and was left out",
                seq=seq,
                session_key=session_key,
                path=str(self._path),
            )

    def _tell_upgrade(self, before: int, after: int) -> None:
        self._log.info(
            "{path} is brought up to date, from schema {before} to {after}. A large file takes minutes, and "
            "several times its size on the disk; the gateway answers when it is done",
            path=str(self._path),
            before=before,
            after=after,
        )

    def _report(self, database: Database) -> None:
        if database.set_aside is not None:
            self._log.error(
                "{path} was damaged. It is now {set_aside}, and a fresh one took its place; to get the old "
                "sessions back, stop the gateway and restore a backup",
                path=str(self._path),
                set_aside=str(database.set_aside),
            )
        self._log.info(
            "Sessions are kept in {path} (schema {version}); the last stop cut off {interrupted} runs",
            path=str(self._path),
            version=database.version,
            interrupted=database.interrupted,
        )


_proof: type[SessionStore] = SqliteStore
