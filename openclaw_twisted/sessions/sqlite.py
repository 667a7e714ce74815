"""The default store: one SQLite file, one thread that writes it, one that reads it.

What `commit` and `begin` acknowledge has been fsync'd (`PRAGMA synchronous = FULL`); many of them share
one fsync when they come together (`threads`). Stateless turns are gathered and written behind (`notes`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Protocol, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from openclaw_twisted.boundaries import RunRecord, SessionRow, SessionStore, StoredMessage, TurnRecord
from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions import rows
from openclaw_twisted.sessions.database import Database, storage_error
from openclaw_twisted.sessions.notes import Clock, Notes
from openclaw_twisted.sessions.threads import ConnectionThread, FromThreads, in_one_transaction, one_by_one

__all__ = ["SqliteStore", "StoreReactor"]

_SESSIONS_PER_PRUNE = 100  # a few milliseconds of the writer's time; commits get their turn in between

T = TypeVar("T")


class StoreReactor(FromThreads, Clock, Protocol):
    """The part of a reactor that the store uses."""


@dataclass(frozen=True)
class _Open:
    """What an open store has and a closed one lacks."""

    writer: ConnectionThread
    reader: ConnectionThread
    notes: Notes


class SqliteStore:
    """Sessions and runs in the SQLite file `path`; its directory is created when it is missing.

    `now` tells seconds since the epoch. Every method raises `StorageError` while the store is not open.
    Cancelling a write drops its outcome, not the write.
    """

    _log = Logger()

    def __init__(self, reactor: StoreReactor, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._reactor = reactor
        self._path = path
        self._now = now
        self._changing = DeferredLock()
        self._state: _Open | None = None

    async def open(self) -> None:
        """Lock and open the file; one that is damaged is set aside and a fresh one takes its place."""
        async with self._changing:
            if self._state is not None:
                raise StorageError(f"{self._path} is open already. Close the store before opening it again.")
            database = Database(self._path, self._now)
            self._state = await self._start(database)
        self._report(database)

    async def close(self) -> None:
        """Write what waits, notes included, and let go of the file; closing twice is harmless."""
        async with self._changing:
            state, self._state = self._state, None
            if state is None:
                return
            state.notes.close()
            try:
                await state.reader.stop()
            finally:
                await state.writer.stop()

    async def history(self, session_key: str, limit: int = 1000) -> tuple[StoredMessage, ...]:
        """Return the newest `limit` messages, oldest first; damaged ones are left out and logged."""
        messages, unreadable = await self._read(partial(rows.history, session_key=session_key, limit=limit))
        for seq in unreadable:
            self._log.error(
                "Message {seq} of session {session_key} in {path} is damaged and was left out",
                seq=seq,
                session_key=session_key,
                path=str(self._path),
            )
        return messages

    async def begin(self, run: RunRecord) -> None:
        """Record that a run started; durable when it returns."""
        await self._write(partial(rows.begin, run=run))

    async def commit(self, turn: TurnRecord) -> None:
        """Append a turn to its session and record how its run ended; durable when it returns."""
        with self._explaining():
            turn_rows = rows.turn_rows(turn)
        await self._write(partial(rows.record, turn=turn_rows))

    def note(self, turn: TurnRecord) -> None:
        """Record a stateless run within a second or so; a disk that cannot keep up costs the oldest."""
        state = self._opened()
        try:
            state.notes.add(rows.turn_rows(turn))
        except UnicodeError as error:
            state.notes.lose(str(error))

    async def sessions(self, limit: int = 100) -> tuple[SessionRow, ...]:
        """Return the most recently updated sessions, newest first."""
        return await self._read(partial(rows.list_sessions, limit=limit))

    async def run(self, run_id: str) -> RunRecord | None:
        """Return what is kept of a run."""
        return await self._read(partial(rows.find_run, run_id=run_id))

    async def prune_stateless(self, before: float) -> int:
        """Delete stateless sessions last updated before `before`, a few at a time; return how many."""
        deleted = 0
        while True:
            count = await self._write(partial(rows.prune, before=before, limit=_SESSIONS_PER_PRUNE))
            deleted += count
            if count < _SESSIONS_PER_PRUNE:
                return deleted

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
        notes = Notes(self._reactor, lambda turn: writer.submit(partial(rows.record, turn=turn)))
        return _Open(writer, reader, notes)

    async def _write(self, call: Callable[[Connection], T]) -> T:
        with self._explaining():
            return await self._opened().writer.submit(call)

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
