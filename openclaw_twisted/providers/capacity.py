"""How many answers a provider or a model gives at a time, and how many requests may wait for that."""

from __future__ import annotations

from openclaw_twisted.errors import UpstreamOverloadedError
from openclaw_twisted.turnstile import Handovers, Turnstile

__all__ = ["RETRY_AFTER_SECONDS", "Capacity"]

RETRY_AFTER_SECONDS = 5.0


class Capacity:
    """`max_concurrent` places and a queue of `max_queued`; `name` and `key` are for messages.

    A place is kept for as long as an answer takes, from before its request is sent.
    """

    def __init__(self, max_concurrent: int, max_queued: int, *, name: str, key: str) -> None:
        self._turnstile = Turnstile(max_concurrent, Handovers())
        self._max_concurrent = max_concurrent
        self._max_queued = max_queued
        self._name = name
        self._key = key

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._turnstile.queue)

    def check(self) -> None:
        """Raise `UpstreamOverloadedError` when one more would have to wait, and too many wait already."""
        if self._turnstile.free <= 0 and self.waiting >= self._max_queued:
            raise UpstreamOverloadedError(
                f"{self._name} answers {self._max_concurrent} requests at a time, and {self.waiting} wait "
                f"already. Try again soon, or let more wait: {self._key}.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    async def enter(self) -> None:
        """Wait for a place; raises what `check` raises."""
        self.check()
        await self._turnstile.enter()

    def leave(self) -> None:
        """Give the place to the one who waited longest."""
        self._turnstile.leave()
