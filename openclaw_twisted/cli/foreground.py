"""One asynchronous job in the reactor, until it is done or the user stops it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

__all__ = ["in_foreground"]

T = TypeVar("T")

# What a shell reports for a process that a signal ended.
_SIGNALLED = 128


def in_foreground(
    job: Callable[[Any], Coroutine[Deferred[Any], Any, T]],
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> T:
    """Run `job(reactor)` to its end and return what it returns, or raise what it raises.

    Ctrl-C and SIGTERM cancel the job, give it the time it needs to clean up, and then raise `SystemExit` with
    130 or 143; the second one ends the process at once. `interrupted` may deal with a Ctrl-C itself: then it
    returns True, and the job goes on.
    """
    outcome: list[T | Failure] = []
    caught: list[int] = []

    def main(reactor: Any) -> Deferred[None]:
        running = ensureDeferred(job(reactor))

        def stop(number: int, _: FrameType | None) -> None:
            if number == signal.SIGINT and interrupted():
                return
            signal.signal(number, signal.SIG_DFL)
            caught.append(number)
            reactor.callFromThread(running.cancel)

        def listen() -> None:
            signal.signal(signal.SIGINT, stop)
            signal.signal(signal.SIGTERM, stop)

        # The reactor puts its own in place when it starts, and those would stop it under the job.
        reactor.callWhenRunning(listen)
        return running.addBoth(outcome.append)

    # Whatever matters is raised; the libraries' tracebacks for it (of a certificate, say) would hide that.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with suppress(SystemExit):
        react(main)
    for number, handler in before.items():
        signal.signal(number, handler)
    if caught:
        raise SystemExit(_SIGNALLED + caught[0])
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    return result
