"""A circuit breaker: what failed several times in a row is left alone for a while, then tried by one call.

The states, and what leads from one to the next:

    closed     --`limit` failures in a row, or `trip`-->  open
    open       --its pause is over and a call enters-->   half-open: that call is the probe, no other enters
    half-open  --the probe is answered-->                 closed, but one failure away from being open
    half-open  --it fails-->                              open, for twice as long
    half-open  --it is abandoned-->                       open, and the next call is the probe
    closed     --`doubt`-->                               open, and the next call is the probe
    closed     --`rest`-->                                resting
    resting    --its pause is over-->                     closed

Resting is for those who said themselves how long they want to be left alone (a rate limit): nothing is
broken, so nothing needs a probe. A success closes the circuit and forgets how long its pauses had grown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

__all__ = ["Circuit", "State"]

MAX_PAUSE_SECONDS = 300.0
FIRST_REST_SECONDS = 1.0
MAX_REST_SECONDS = 60.0
PROBE_SECONDS = 1.0
"""What is told to those who come while a probe is under way: it will not take much longer."""

State = Literal["closed", "open", "half-open", "resting"]


class Circuit:
    """One breaker; `seconds` is a monotonic clock.

    It opens after `limit` failures in a row, at first for `pause_seconds`, then for twice as long each time.
    """

    __slots__ = ("_failures", "_first_pause", "_limit", "_pause", "_rest", "_seconds", "_state", "_until")

    def __init__(self, seconds: Callable[[], float], *, limit: int, pause_seconds: float) -> None:
        self._seconds = seconds
        self._limit = limit
        self._first_pause = self._pause = pause_seconds
        self._rest = FIRST_REST_SECONDS
        self._failures = 0
        self._state: State = "closed"
        self._until = 0.0

    @property
    def state(self) -> State:
        """Where it stands; a rest that is over is closed, an open one waits for its probe."""
        if self._state == "resting" and self._seconds() >= self._until:
            return "closed"
        return self._state

    def ready(self) -> bool:
        """Tell whether a call may enter."""
        if self._state == "closed":
            return True
        return self._state != "half-open" and self._seconds() >= self._until

    def wait_seconds(self) -> float:
        """Return how long until a call may enter."""
        if self._state == "half-open":
            return PROBE_SECONDS
        return 0.0 if self._state == "closed" else max(self._until - self._seconds(), 0.0)

    def enter(self) -> bool:
        """Let a call in that `ready` allowed; tell whether it is the probe."""
        if self._state == "open":
            self._state = "half-open"
            return True
        self._state = "closed"
        return False

    def answered(self) -> None:
        """Note that an answer began, which may still break off."""
        if self._state == "half-open":
            self._state = "closed"
            self._failures = self._limit - 1

    def succeeded(self) -> None:
        """Note that all went well; a rest goes on, because who asked for it did so after all."""
        if self._state == "resting" and self._seconds() < self._until:
            return
        self._state = "closed"
        self._failures = 0
        self._pause = self._first_pause
        self._rest = FIRST_REST_SECONDS

    def failed(self) -> None:
        """Note a failure."""
        self._failures += 1
        if self._state == "half-open" or (self._state == "closed" and self._failures >= self._limit):
            self.trip()

    def doubt(self) -> None:
        """Make the next call a probe, because something like this one has just opened."""
        if self._state == "closed":
            self._open_for("open", 0.0)

    def trip(self) -> None:
        """Open now. Calls that entered before may fail too; they make the pause no longer."""
        if self._state == "open":
            return
        self._open_for("open", self._pause)
        self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS)

    def rest(self, seconds: float | None) -> None:
        """Let nothing in for so long; None is a time of its own, longer each time."""
        if self._state == "resting" and seconds is None:
            return  # one of several calls that were under way together
        if seconds is None:
            seconds, self._rest = self._rest, min(self._rest * 2, MAX_REST_SECONDS)
        self._open_for("resting", seconds)

    def abandoned(self) -> None:
        """Note that the probe was given up before anything was known."""
        if self._state == "half-open":
            self._open_for("open", 0.0)

    def _open_for(self, state: State, seconds: float) -> None:
        self._state = state
        self._until = self._seconds() + seconds
