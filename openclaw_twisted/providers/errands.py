"""Work that is done elsewhere, in a thread or a program, while a coroutine waits for it.

Cancelling the wait does not abandon the work: the coroutine goes on (with `CancelledError`) only when
the work has ended, so that whatever cleans up behind it finds no thread and no process still at the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

__all__ = ["Exit", "in_thread", "run_program"]

MAX_OUTPUT_BYTES = 64 * 1024

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Exit(msgspec.Struct, frozen=True):
    """How a program ended: its exit status, or minus the signal that ended it, and its last words."""

    status: int
    stderr: str


async def in_thread(reactor: Any, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what `function` returns when called in a thread of the reactor's pool."""
    work = deferToThreadPool(reactor, reactor.getThreadPool(), function, *args, **kwargs)
    return await _outlast(work, lambda: None)


async def run_program(reactor: Any, argv: Sequence[str], environ: Mapping[str, str]) -> Exit:
    """Run a program to its end; cancelling kills it. Its standard input is empty, its output is dropped."""
    program = _Program()
    reactor.spawnProcess(program, argv[0], list(argv), env=dict(environ), path=None)
    return await _outlast(program.ended, program.kill)


async def _outlast(work: Deferred[_T], stop: Callable[[], None]) -> _T:
    waiter: Deferred[_T] = Deferred()
    ended: Deferred[None] = Deferred()

    def settle(result: _T | Failure) -> None:
        if isinstance(result, Failure):
            waiter.errback(result)
        else:
            waiter.callback(result)
        ended.callback(None)

    work.addBoth(settle)
    try:
        return await waiter
    except CancelledError:
        stop()
        await ended
        raise


class _Program(ProcessProtocol):
    transport: IProcessTransport

    def __init__(self) -> None:
        self.ended: Deferred[Exit] = Deferred()
        self._stderr = b""

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.closeStdin()

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        self._stderr = (self._stderr + data)[-MAX_OUTPUT_BYTES:]

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        value: Any = reason.value
        status = -value.signal if value.signal else value.exitCode
        self.ended.callback(Exit(status, self._stderr.decode(errors="replace")))

    def kill(self) -> None:
        if not self.ended.called:
            self.transport.signalProcess("KILL")
