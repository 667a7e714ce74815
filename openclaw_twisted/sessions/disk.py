"""Whether the disk takes what the store writes: noticed when a write fails, and tried again until one works.

A gateway that says it is not ready gets no requests, and without requests nothing would be written: so the
store has to find out by itself that the disk works again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted.sessions.notes import Clock

__all__ = ["PROBE_BYTES", "PROBE_SECONDS", "DiskWatch", "probe"]

PROBE_SECONDS = 1.0
"""How long after a write that failed the next one is tried."""
PROBE_BYTES = 64 * 1024
"""How much has to fit before the disk counts as working: a turn, not only the last free block."""

_OF_THE_DISK = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
)

T = TypeVar("T")


class DiskWatch:
    """Follows what becomes of writes to `path`; `write` makes a call on the writer's connection."""

    _log = Logger()

    def __init__(
        self, clock: Clock, path: Path, write: Callable[[Callable[[Connection], None]], Deferred[None]]
    ) -> None:
        self._clock = clock
        self._path = path
        self._write = write
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self.works = True

    def follow(self, writing: Deferred[T]) -> Deferred[T]:
        """Return the same write, watched."""
        return writing.addErrback(self._failed)

    def follow_all(self, writing: Deferred[list[Any]]) -> Deferred[list[Any]]:
        """Return the same writes, each of which has an outcome of its own, watched."""
        return writing.addCallback(self._looked_at)

    def stop(self) -> None:
        """Try no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _looked_at(self, outcomes: list[Any]) -> list[Any]:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                self._failed(outcome)
        return outcomes

    def _failed(self, failure: Failure) -> Failure:
        if self.works and _is_of_the_disk(failure):
            self.works = False
            self._log.error(
                "{path} cannot be written: {reason}. Until it can, the gateway says that it is not ready",
                path=str(self._path),
                reason=failure.getErrorMessage(),
            )
            self._try_later()
        return failure

    def _try_later(self) -> None:
        if not self._stopped:
            self._timer = self._clock.callLater(PROBE_SECONDS, self._try)

    def _try(self) -> None:
        self._timer = None
        self._write(probe).addCallbacks(self._succeeded, self._failed_again)

    def _succeeded(self, _result: None) -> None:
        self.works = True
        self._log.info("{path} can be written again", path=str(self._path))

    def _failed_again(self, failure: Failure) -> None:
        failure.trap(sqlite3.Error, OSError, CancelledError)
        self._try_later()


def probe(connection: Connection) -> None:
    """Write something that takes space, and leave nothing behind."""
    connection.execute("CREATE TABLE disk_probe (filler BLOB)")
    connection.execute("INSERT INTO disk_probe VALUES (zeroblob(?))", (PROBE_BYTES,))
    connection.execute("DROP TABLE disk_probe")  # freed pages are written all the same: secure_delete


def _is_of_the_disk(failure: Failure) -> bool:
    error = failure.value
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK
    return isinstance(error, OSError)
