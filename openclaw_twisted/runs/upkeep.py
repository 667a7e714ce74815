"""The store's upkeep: now and then, off the hot path, what is old or too much is deleted, a little at a time.

`session.statelessRetention` bounds requests without a session, `session.maintenance` everything else. In mode
`warn` sessions and archives are only counted. What runs at the moment is never touched, whatever its age.
While the clock is not to be believed, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted.boundaries import Retention, SessionStore
from openclaw_twisted.config.settings import SessionSettings
from openclaw_twisted.errors import StorageError
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.wall_clock import WallClock

__all__ = ["EVERY_SECONDS", "Upkeep"]

EVERY_SECONDS: Final = 600.0
_HIGH_WATER: Final = 0.8


class Upkeep:
    """Looks after a store; `active` gives the runs under way, `now` seconds since the epoch."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: SessionStore,
        settings: SessionSettings,
        *,
        active: Callable[[], Sequence[Run]],
        now: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._store = store
        self._active = active
        self._now = now
        self._wall_clock = WallClock(clock, now)
        self._loop = LoopingCall(self._work)
        self._loop.clock = clock
        self._working: Deferred[None] | None = None

    def start(self) -> None:
        """Begin now, and again every ten minutes."""
        self._loop.start(EVERY_SECONDS)

    def stop(self) -> None:
        """Stop; what has not been deleted yet is left for the next time."""
        if self._loop.running:
            self._loop.stop()
        if self._working is not None:
            self._working.cancel()

    def idle(self) -> Deferred[None]:
        """Wait until what goes on is done."""
        if self._working is None:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._working.addCallback(waiter.callback)
        return waiter

    async def once(self) -> None:
        """Do it once; a store that fails is logged and tried again the next time."""
        try:
            await self._prune()
        except StorageError as error:
            self._log.error("old sessions could not be deleted: {reason}", reason=error.message)

    def retention(self) -> Retention:
        """Return what may go now."""
        settings, maintenance, now = self.settings, self.settings.maintenance, self._now()
        active = self._active()
        stateless = settings.stateless_retention_seconds
        archived = maintenance.reset_archive_retention_seconds
        if archived is None:
            archived = maintenance.prune_after_seconds
        limit = maintenance.max_disk_bytes
        target = maintenance.high_water_bytes or int(limit * _HIGH_WATER)
        return Retention(
            stateless_before=now - stateless if stateless else None,
            unused_before=now - maintenance.prune_after_seconds,
            archived_before=None if archived is False else now - archived,
            max_sessions=maintenance.max_entries,
            max_bytes=limit,
            target_bytes=min(target, limit),
            keep=frozenset(str(run.request.session_key) for run in active),
            running=frozenset(run.request.run_id for run in active),
        )

    async def _prune(self) -> None:
        if not self._wall_clock.is_believed():
            self._log.warn(
                "the clock was set ahead, or this machine slept: nothing is deleted until it has been right "
                "for an hour"
            )
            return
        retention = self.retention()
        if self.settings.maintenance.mode == "warn":
            await self._store.prune(
                Retention(
                    stateless_before=retention.stateless_before,
                    keep=retention.keep,
                    running=retention.running,
                )
            )
            await self._warn(replace(retention, stateless_before=None))
            return
        pruned = await self._store.prune(retention)
        if pruned.sessions or pruned.archives:
            self._log.info(
                "maintenance deleted {sessions} sessions and {archives} archives: {size_bytes} bytes left",
                sessions=pruned.sessions,
                archives=pruned.archives,
                size_bytes=pruned.size_bytes,
            )

    async def _warn(self, retention: Retention) -> None:
        surplus = await self._store.surplus(retention)
        too_large = retention.max_bytes is not None and surplus.size_bytes > retention.max_bytes
        if surplus.sessions or surplus.archives or too_large:
            self._log.warn(
                "session.maintenance would delete {sessions} sessions and {archives} archives; {size_bytes} "
                'bytes of {max_bytes} are used. Set its mode to "enforce", or delete some yourself',
                sessions=surplus.sessions,
                archives=surplus.archives,
                size_bytes=surplus.size_bytes,
                max_bytes=retention.max_bytes,
            )

    def _work(self) -> Deferred[None]:
        working = Deferred.fromCoroutine(self.once())
        self._working = working
        working.addBoth(self._done)
        return working

    def _done(self, result: Failure | None) -> None:
        self._working = None
        if result is not None and not result.check(CancelledError):
            self._log.failure("maintenance hit a defect", failure=result)
