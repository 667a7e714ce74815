"""How late the event loop is: the one number that tells that something blocks it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["EVERY_SECONDS", "LoopLag"]

EVERY_SECONDS = 0.1


class LoopLag:
    """Asks to be called ten times a second and tells `observe` by how many seconds the call came too late."""

    def __init__(self, clock: IReactorTime, observe: Callable[[float], object]) -> None:
        self._clock = clock
        self._observe = observe
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + EVERY_SECONDS
        self._call = self._clock.callLater(EVERY_SECONDS, self._called)

    def stop(self) -> None:
        """Stop measuring; saying it twice, or before the start, changes nothing."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _called(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)  # below 0 when the system's clock was set back
        self.start()
        self._observe(late)
