"""Stateless turns on their way to the store: gathered for a moment, written together, never waited for.

Most requests are stateless. Written one by one each would cost a transaction and an fsync that nobody
asked for; gathered, a busy second costs a few. What the disk cannot keep up with is dropped, oldest
first, so that a slow disk costs records and not memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted.boundaries import TurnRecord
from openclaw_twisted.content import size_of

__all__ = ["MAX_WAITING", "MAX_WAITING_CHARACTERS", "Clock", "Notes"]

MAX_WAITING = 10_000
MAX_WAITING_CHARACTERS = 64 * 1024 * 1024

_GATHER_SECONDS = 0.2
_LOG_INTERVAL_SECONDS = 10.0

# What is written together: a commit behind it in the queue waits for some 20 ms, unless a single turn takes
# longer. It is let go of together, too, which no other thread can interrupt: a million messages take 50 ms.
_MAX_TURNS = 128
_MAX_MESSAGES = 2000
_MAX_CHARACTERS = 2 * 1024 * 1024


class Clock(Protocol):
    """The part of a reactor that keeps time."""

    def callLater(self, delay: float, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> IDelayedCall:  # noqa: N802  Twisted's name
        """Call after `delay` seconds."""
        ...

    def seconds(self) -> float:
        """Return the time, from an arbitrary start."""
        ...


class Notes:
    """The turns that wait; `write` starts to write some, its Deferred fires with what became of each."""

    _log = Logger()

    def __init__(self, clock: Clock, write: Callable[[Sequence[TurnRecord]], Deferred[list[Any]]]) -> None:
        self._clock = clock
        self._write = write
        self._waiting: deque[tuple[TurnRecord, int]] = deque()
        self._waiting_characters = 0
        self._waiting_messages = 0
        self._timer: IDelayedCall | None = None
        self._writing = False
        self._lost = 0
        self._reason = ""
        self._quiet_until = clock.seconds()

    def add(self, turn: TurnRecord) -> None:
        """Let a turn wait; what has waited longest goes when there are too many, or too large ones."""
        size = size_of(turn.messages)
        if size > MAX_WAITING_CHARACTERS:
            self.lose("too large")
            return
        self._waiting.append((turn, size))
        self._waiting_characters += size
        self._waiting_messages += len(turn.messages)
        while len(self._waiting) > MAX_WAITING or self._waiting_characters > MAX_WAITING_CHARACTERS:
            self._take()
            self.lose("the disk is too slow")
        self._schedule()

    def lose(self, reason: str, count: int = 1) -> None:
        """Count turns that will not be recorded, and say so now and then."""
        self._lost += count
        self._reason = reason
        if self._clock.seconds() >= self._quiet_until:
            self._report()

    def close(self) -> None:
        """Start to write everything that waits."""
        while self._waiting:
            self._write_some()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost:
            self._report()

    def _schedule(self) -> None:
        if self._waiting and self._timer is None and not self._writing:
            self._timer = self._clock.callLater(_GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._timer = None
        self._write_some()

    def _write_some(self) -> None:
        self._writing = True
        self._write(self._some()).addCallback(self._written)

    def _some(self) -> list[TurnRecord]:
        """Take what is written together: turns until they are enough, one at least."""
        turns: list[TurnRecord] = []
        characters, messages = self._waiting_characters, self._waiting_messages
        while self._waiting and not _is_enough(
            len(turns), messages - self._waiting_messages, characters - self._waiting_characters
        ):
            turns.append(self._take())
        return turns

    def _written(self, outcomes: list[Any]) -> None:
        self._writing = False
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if failures:
            self.lose(failures[-1].getErrorMessage(), len(failures))
        if _is_enough(len(self._waiting), self._waiting_messages, self._waiting_characters):
            self._write_some()
        else:
            self._schedule()

    def _report(self) -> None:
        self._log.warn(
            "{count} stateless runs were not recorded: {reason}", count=self._lost, reason=self._reason
        )
        self._lost = 0
        self._quiet_until = self._clock.seconds() + _LOG_INTERVAL_SECONDS

    def _take(self) -> TurnRecord:
        turn, size = self._waiting.popleft()
        self._waiting_characters -= size
        self._waiting_messages -= len(turn.messages)
        return turn


def _is_enough(turns: int, messages: int, characters: int) -> bool:
    """Tell whether so much is to be written without waiting for more."""
    return turns >= _MAX_TURNS or messages >= _MAX_MESSAGES or characters >= _MAX_CHARACTERS
