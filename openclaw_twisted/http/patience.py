"""How long a client may take to send what it has begun: a head, a body, or its next request.

Twisted's own limit is one of silence, which every byte renews, so that a client with a byte for each minute
keeps its connection for ever. Here a head and a body have to be whole by a time that nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from openclaw_twisted.config.settings import LimitsSettings

__all__ = ["Patience", "Waiting"]


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
