"""Whether the time of day is to be believed, for what cannot be undone.

A clock that is a month ahead for ten minutes makes every session a month old. The clock of the timers cannot
be set, so it tells that the other one was: by somebody, by a time server, or because the machine slept.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

__all__ = ["AHEAD_SECONDS", "BELIEVED_AFTER_SECONDS", "WallClock"]

AHEAD_SECONDS = 3600.0
"""How far the clock may be set ahead without anybody asking why."""
BELIEVED_AFTER_SECONDS = 3600.0
"""For how long a clock that was set ahead further has to stay so, until it is believed."""


class WallClock:
    """Compares `now`, in seconds since the epoch, with `clock`, which is never set."""

    def __init__(self, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._clock = clock
        self._now = now
        self._known = self._difference()
        self._new = self._known
        self._new_since = 0.0

    def is_believed(self) -> bool:
        """Tell whether the time is what it was a while ago, and as much later as time has passed."""
        difference, seconds = self._difference(), self._clock.seconds()
        if difference - self._known > AHEAD_SECONDS:
            if self._new <= self._known or abs(difference - self._new) > AHEAD_SECONDS:
                self._new, self._new_since = difference, seconds
            if seconds - self._new_since < BELIEVED_AFTER_SECONDS:
                return False
        self._known = self._new = difference
        return True

    def _difference(self) -> float:
        return self._now() - self._clock.seconds()
