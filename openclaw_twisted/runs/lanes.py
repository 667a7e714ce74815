"""Whose turn it is: one run at a time per session, in order of arrival, and a limit over all sessions.

A lane is a session's queue. A run first waits for its lane, then for one of the gateway's places, so a
busy session never takes up places that other sessions could use.

A turn is handed from the one who leaves to the one who waited longest. Handing over resumes the waiting
run at once, and that run may itself end at once (its provider is down, say) and hand over again; so the
hand-overs of one moment are worked off in a loop, not one inside the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from openclaw_twisted.errors import OverloadedError

__all__ = ["Lanes"]

RETRY_AFTER_SECONDS = 5.0


class _Turnstile:
    """Lets `capacity` in at a time, the others in order; calls `when_empty` when the last one has left."""

    def __init__(self, capacity: float, handovers: _Handovers, when_empty: Callable[[], object]) -> None:
        self.free = capacity
        self.queue: deque[Deferred[None]] = deque()
        self._capacity = capacity
        self._handovers = handovers
        self._when_empty = when_empty

    async def enter(self) -> None:
        if self.free > 0:
            self.free -= 1
            return
        mine: Deferred[None] = Deferred(self._gave_up)
        self.queue.append(mine)
        await mine

    def leave(self) -> None:
        if self.queue:
            self._handovers.add(self.queue.popleft(), self)
            return
        self.free += 1
        if self.free == self._capacity:
            self._when_empty()

    def _gave_up(self, waiter: Deferred[None]) -> None:
        if waiter in self.queue:
            self.queue.remove(waiter)


class _Handovers:
    """The turns that are being handed over at this moment."""

    def __init__(self) -> None:
        self._pending: deque[tuple[Deferred[None], _Turnstile]] = deque()
        self._working = False

    def add(self, waiter: Deferred[None], turnstile: _Turnstile) -> None:
        self._pending.append((waiter, turnstile))
        if self._working:
            return
        self._working = True
        try:
            while self._pending:
                waiter, turnstile = self._pending.popleft()
                if waiter.called:  # it gave up between being chosen and being told
                    turnstile.leave()
                else:
                    waiter.callback(None)
        finally:
            self._working = False


class Lanes:
    """Turns at sessions.

    `max_concurrent` bounds those who run (None is no limit), `max_waiting` all who wait together,
    `max_waiting_in_lane` those who wait in one session.
    """

    def __init__(
        self,
        *,
        max_concurrent: int | None = None,
        max_waiting: int = 512,
        max_waiting_in_lane: int = 32,
    ) -> None:
        self._handovers = _Handovers()
        self._lanes: dict[str, _Turnstile] = {}
        self._places = _Turnstile(max_concurrent or float("inf"), self._handovers, lambda: None)
        self._max_waiting = max_waiting
        self._max_waiting_in_lane = max_waiting_in_lane
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    def admit(self, lane: str) -> None:
        """Raise `OverloadedError` when a run on `lane` would have to wait and too many wait already."""
        turnstile = self._lanes.get(lane)
        if turnstile is not None and len(turnstile.queue) >= self._max_waiting_in_lane:
            raise OverloadedError(
                f"{len(turnstile.queue)} runs are waiting in this session already. Try again soon.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        must_wait = turnstile is not None or self._places.free <= 0
        if must_wait and self._waiting >= self._max_waiting:
            raise OverloadedError(
                f"{self._waiting} runs are waiting already. Try again soon.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncIterator[None]:
        """Wait for the lane and for a place; leaving the context lets the next one in."""
        turnstile = self._lanes.get(lane)
        if turnstile is None:
            turnstile = _Turnstile(1, self._handovers, lambda: self._lanes.pop(lane))
            self._lanes[lane] = turnstile
        async with self._inside(turnstile), self._inside(self._places):
            yield

    @asynccontextmanager
    async def _inside(self, turnstile: _Turnstile) -> AsyncIterator[None]:
        self._waiting += 1
        try:
            await turnstile.enter()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            turnstile.leave()
