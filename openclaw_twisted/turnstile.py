"""A turnstile lets so many in at a time, the others in the order in which they came.

A turn is handed from the one who leaves to the one who waited longest. Handing over resumes the one who
waited at once, and that one may itself end at once (its provider is down, say) and hand over again; so the
hand-overs of one moment are worked off in a loop, not one inside the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

__all__ = ["Handovers", "Turnstile"]


class Turnstile:
    """Lets `capacity` in at a time; calls `when_empty` when the last one has left.

    Turnstiles that are gone through one after the other share their `handovers`.
    """

    def __init__(
        self, capacity: float, handovers: Handovers, when_empty: Callable[[], object] = lambda: None
    ) -> None:
        self.free = capacity
        self.queue: deque[Deferred[None]] = deque()
        self._capacity = capacity
        self._handovers = handovers
        self._when_empty = when_empty

    def pass_through(self) -> bool:
        """Take a place if one is free; tell whether one was."""
        if self.free <= 0:
            return False
        self.free -= 1
        return True

    async def enter(self) -> None:
        """Wait for a place; whoever is cancelled meanwhile gives theirs in the queue up."""
        if self.pass_through():
            return
        mine: Deferred[None] = Deferred(self._gave_up)
        self.queue.append(mine)
        await mine

    def resize(self, capacity: float) -> None:
        """Let so many in at a time from now on; those who are too many stay until they leave."""
        more, self._capacity = capacity - self._capacity, capacity
        self.free += more
        while self.free > 0 and self.queue:
            self.free -= 1
            self._handovers.add(self.queue.popleft(), self)

    def leave(self) -> None:
        """Let the next one in."""
        if self.queue and self.free >= 0:
            self._handovers.add(self.queue.popleft(), self)
            return
        self.free += 1
        if self.free == self._capacity:
            self._when_empty()

    def _gave_up(self, waiter: Deferred[None]) -> None:
        if waiter in self.queue:
            self.queue.remove(waiter)


class Handovers:
    """The turns that are being handed over at this moment."""

    def __init__(self) -> None:
        self._pending: deque[tuple[Deferred[None], Turnstile]] = deque()
        self._working = False

    def add(self, waiter: Deferred[None], turnstile: Turnstile) -> None:
        """Hand a turn over, after those that are being handed over already."""
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
