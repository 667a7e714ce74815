"""A reactor for stores under test: a clock that the test moves, and calls from threads that it waits for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

__all__ = ["ThreadedClock"]

T = TypeVar("T")

PATIENCE_SECONDS = 20.0


class ThreadedClock(Clock):
    """Makes the calls of other threads while the test waits in `result_of`; `wakeups` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.wakeups = 0

    def callFromThread(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        self._calls.put(partial(call, *args, **kwargs))

    def wait_for_one_call(self) -> None:
        """Wait for the next call of another thread and make it."""
        self._calls.get(timeout=PATIENCE_SECONDS)()
        self.wakeups += 1

    def result_of(self, work: Coroutine[Deferred[Any], Any, T] | Deferred[T]) -> T:
        """Wait until `work` is done; return what it returned or raise what it raised."""
        outcome: list[T | Failure] = []
        deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        deferred.addBoth(outcome.append)
        while not outcome:
            self.wait_for_one_call()
        (result,) = outcome
        if isinstance(result, Failure):
            result.raiseException()
        return result
