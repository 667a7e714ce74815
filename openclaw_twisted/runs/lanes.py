"""Whose turn it is: one run at a time per session, in order of arrival, and a limit over all sessions.

A lane is a session's queue. A run first waits for its lane, then for one of the gateway's places, so a
busy session never takes up places that other sessions could use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openclaw_twisted.errors import OverloadedError
from openclaw_twisted.turnstile import Handovers, Turnstile

__all__ = ["Lanes", "Turn"]

RETRY_AFTER_SECONDS = 5.0
NO_LIMIT = 2**53


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
        self._handovers = Handovers()
        self._lanes: dict[str, Turnstile] = {}
        self._places = Turnstile(NO_LIMIT, self._handovers)
        self._waiting = 0
        self.limit(
            max_concurrent=max_concurrent, max_waiting=max_waiting, max_waiting_in_lane=max_waiting_in_lane
        )

    def limit(self, *, max_concurrent: int | None, max_waiting: int, max_waiting_in_lane: int) -> None:
        """Have these limits from now on; nobody who runs or waits already is sent away."""
        # Not infinite: infinity less one is infinity, and how many are inside would be forgotten.
        self._places.resize(max_concurrent or NO_LIMIT)
        self._max_waiting = max_waiting
        self._max_waiting_in_lane = max_waiting_in_lane

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

    def turn(self, lane: str) -> Turn:
        """Return a turn at this lane and at a place, to be waited for."""
        return Turn(self, self._lane(lane), self._places)

    @asynccontextmanager
    async def lane(self, lane: str) -> AsyncIterator[None]:
        """Wait for the lane alone, uncounted: for what is done to a session without asking a model."""
        turnstile = self._lane(lane)
        await turnstile.enter()
        try:
            yield
        finally:
            turnstile.leave()

    def _lane(self, lane: str) -> Turnstile:
        turnstile = self._lanes.get(lane)
        if turnstile is None:
            turnstile = Turnstile(1, self._handovers, lambda: self._lanes.pop(lane))
            self._lanes[lane] = turnstile
        return turnstile

    async def enter(self, turnstile: Turnstile) -> None:
        """Wait at a turnstile, and be counted meanwhile."""
        self._waiting += 1
        try:
            await turnstile.enter()
        finally:
            self._waiting -= 1


class Turn:
    """A turn of one run: its lane, then a place.

    No context manager, because its end lies beyond the work: the next one in the lane is let in when
    everybody has heard how this one ended.
    """

    def __init__(self, lanes: Lanes, lane: Turnstile, places: Turnstile) -> None:
        self._lanes = lanes
        self._lane = lane
        self._places = places
        self._has_begun = False

    async def begin(self) -> None:
        """Wait for the lane and for a place."""
        if not self._lane.pass_through():
            await self._lanes.enter(self._lane)
        if not self._places.pass_through():
            try:
                await self._lanes.enter(self._places)
            except BaseException:  # cancelled while it waited
                self._lane.leave()
                raise
        self._has_begun = True

    def end(self) -> None:
        """Let the next one in; says nothing about a turn that did not begin."""
        if self._has_begun:
            self._has_begun = False
            self._places.leave()
            self._lane.leave()
