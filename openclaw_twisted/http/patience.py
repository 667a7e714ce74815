"""How long a client may take to send what it has begun: a head, a body, or its next request.

Twisted's own limit is one of silence, which every byte renews, so that a client with a byte for each minute
keeps its connection for ever. Here a head and a body have to be whole by a time that nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from openclaw_twisted.config.settings import LimitsSettings

__all__ = ["Alarm", "Patience", "Waiting"]


class Waiting(Enum):
    """What a connection waits for from its client."""

    HEAD = "head"
    BODY = "body"
    NEXT_REQUEST = "next request"
    NOTHING = "nothing"
    """A request is whole, and its answer is being made."""


class Patience:
    """The time that one connection has for what it is in the middle of; it begins with waiting for a head.

    `now` gives seconds of a clock that is never set.
    """

    def __init__(self, limits: LimitsSettings, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self.waiting = Waiting.HEAD
        self._ends_at = now() + limits.header_deadline_seconds

    def left(self, waiting: Waiting) -> float | None:
        """Note what is waited for, now that bytes have come; return how many seconds more, None for ever."""
        limits = self._limits
        began = waiting is not self.waiting
        self.waiting = waiting
        match waiting:
            case Waiting.NOTHING:
                return None
            case Waiting.NEXT_REQUEST:
                return limits.connection_idle_seconds
            case Waiting.HEAD:
                if began:
                    self._ends_at = self._now() + limits.header_deadline_seconds
                return max(self._ends_at - self._now(), 0.0)
            case Waiting.BODY:
                if began:
                    self._ends_at = self._now() + limits.body_deadline_seconds
                return max(min(self._ends_at - self._now(), limits.body_idle_seconds), 0.0)


class Alarm:
    """Calls `ring` at a time that is put off, and called off, with every request.

    The timer behind it stays as it is meanwhile, and looks when it fires whether the time has come. To stop
    and start a timer for each request would cost more than reading the request's head.
    """

    def __init__(self, clock: IReactorTime, ring: Callable[[], object]) -> None:
        self._clock = clock
        self._ring: Callable[[], object] | None = ring
        self._due: float | None = None
        self._timer_at = 0.0
        self._timer: IDelayedCall | None = None

    @property
    def is_set(self) -> bool:
        """Whether it is going to ring."""
        return self._due is not None

    def set(self, seconds: float | None) -> None:
        """Ring that many seconds from now, whatever was said before; None is never."""
        if seconds is None:
            self._due = None
            return
        due = self._due = self._clock.seconds() + seconds
        if self._timer is None:
            self._start(due, seconds)
        elif due < self._timer_at:
            self._timer.cancel()
            self._start(due, seconds)

    def stop(self) -> None:
        """Never ring again, and let go of whom it was for."""
        self._due = self._ring = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _start(self, due: float, seconds: float) -> None:
        self._timer_at = due
        self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        left = self._due - self._clock.seconds()
        if left > 0:
            self._start(self._due, left)
            return
        self._due = None
        if self._ring is not None:
            self._ring()
