"""What can be done to a session between its turns: reset, compact, delete it, change what was chosen for it.

Turns and these changes never interleave: each waits for the session's lane, as a run does. What a reset or
a deletion would wait for is stopped first; so both are done to the end, though nobody may wait for that any
more, and keep the lane for as long.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import (
    SessionBus,
    SessionChange,
    SessionChangeReason,
    SessionPatch,
    SessionRow,
    SessionStore,
)
from openclaw_twisted.errors import CancelledRunError
from openclaw_twisted.runs.lanes import Lanes
from openclaw_twisted.runs.run import Run
from openclaw_twisted.session_key import SessionKey

__all__ = ["Sessions"]

T = TypeVar("T")


class Sessions:
    """The sessions of a store; `active` gives the runs under way, `now` seconds since the epoch.

    Every method raises `StorageError`; what it did is durable when it returns.
    """

    def __init__(
        self,
        store: SessionStore,
        lanes: Lanes,
        bus: SessionBus,
        *,
        active: Callable[[], Sequence[Run]],
        now: Callable[[], float],
    ) -> None:
        self.store = store
        self.bus = bus
        self._lanes = lanes
        self._active = active
        self._now = now

    def runs_of(self, key: SessionKey) -> tuple[Run, ...]:
        """Return the session's runs that have not ended, oldest first."""
        return tuple(run for run in self._active() if run.request.session_key == key)

    async def model_of(self, key: SessionKey) -> str | None:
        """Return the model that was chosen for a session, None when there is none."""
        row = None if key.stateless else await self.store.session(str(key))
        return None if row is None else row.model

    async def patch(self, key: SessionKey, patch: SessionPatch) -> SessionRow:
        """Change what was chosen for a session, which is created if need be.

        Raises `InvalidRequestError` for a label that another session has.
        """
        return await self._patch(key, patch, "patch")

    async def create(self, key: SessionKey, patch: SessionPatch) -> SessionRow:
        """Create a session; one that is there is changed."""
        return await self._patch(key, patch, "create")

    async def reset(self, key: SessionKey) -> SessionRow:
        """Stop the session's runs and let it start afresh."""
        return await _to_its_end(self._reset(key))

    async def delete(self, key: SessionKey) -> bool:
        """Stop the session's runs and delete it; tell whether there was one."""
        return await _to_its_end(self._delete(key))

    async def compact(self, key: SessionKey, keep: int) -> int:
        """Take all but the newest `keep` messages out of a session, whole turns at a time; return how many.

        Waits for its runs.
        """
        async with self._lanes.lane(str(key)):
            count = await self.store.compact(str(key), keep, self._now())
        if count:
            self._announce(key, "compact")
        return count

    async def _reset(self, key: SessionKey) -> SessionRow:
        self._stop(key, "The session was reset.")
        async with self._lanes.lane(str(key)):
            row = await self.store.reset(str(key), self._now())
        self._announce(key, "reset")
        return row

    async def _delete(self, key: SessionKey) -> bool:
        self._stop(key, "The session was deleted.")
        async with self._lanes.lane(str(key)):
            row = await self.store.session(str(key))
            there_was = await self.store.delete(str(key))
        if there_was:
            self._announce(key, "delete", row.session_id if row is not None else "")
        return there_was

    async def _patch(self, key: SessionKey, patch: SessionPatch, reason: SessionChangeReason) -> SessionRow:
        row = await self.store.patch(str(key), patch, self._now())
        self._announce(key, reason)
        return row

    def _stop(self, key: SessionKey, why: str) -> None:
        for run in reversed(self.runs_of(key)):  # or those that wait would get their turn one by one
            run.cancel(CancelledRunError(why))

    def _announce(self, key: SessionKey, reason: SessionChangeReason, session_id: str = "") -> None:
        self.bus.announce(
            SessionChange(
                session_key=str(key),
                agent_id=key.agent_id,
                reason=reason,
                at=self._now(),
                session_id=session_id,
            )
        )


def _to_its_end(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Return what comes of some work; cancelling drops that, not the work."""
    waiter: Deferred[T] = Deferred()
    Deferred.fromCoroutine(work).addBoth(waiter.callback)
    return waiter
