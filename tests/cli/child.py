"""A command in a process of its own, while the test's reactor goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from openclaw_twisted.testing import real_reactor
from tests.cli.case import COMMAND, merged

__all__ = ["Child", "Ended"]

STDOUT = 1


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended; `code` is minus the signal if one ended it."""

    code: int
    stdout: str
    stderr: str


class Child(ProcessProtocol):
    """`ended` tells how it ended."""

    transport: Any

    def __init__(
        self,
        *arguments: str,
        environ: Mapping[str, str | None],
        stdin: bytes | None = None,
        stays: bool = False,
        terminal: bool = False,
    ) -> None:
        """`stdin` is all there is on its standard input, unless it `stays` open or is a `terminal`."""
        self.ended: Deferred[Ended] = Deferred()
        self._said = {1: b"", 2: b""}
        self._waiting: list[tuple[bytes, Deferred[None]]] = []
        real_reactor().spawnProcess(
            self, sys.executable, [*COMMAND, *arguments], env=merged(environ), usePTY=terminal
        )
        if stdin is not None:
            self.transport.write(stdin)
        if not (stays or terminal):
            self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's name
        self._said[childFD] += data
        for words, waiter in tuple(self._waiting):
            if words in self._said[STDOUT]:
                self._waiting.remove((words, waiter))
                waiter.callback(None)

    def says(self, words: bytes) -> Deferred[None]:
        """Wait until this has come on its stdout."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append((words, waiter))
        self.childDataReceived(STDOUT, b"")
        return waiter

    def type(self, keys: bytes) -> None:
        """Write to its standard input."""
        self.transport.write(keys)

    def signal(self, name: str) -> None:
        self.transport.signalProcess(name)

    def processEnded(self, reason: Failure) -> None:
        why: Any = reason.value
        code = -why.signal if why.signal else why.exitCode
        ended = Ended(code=code, stdout=self._said[1].decode(), stderr=self._said[2].decode())
        for _, waiter in self._waiting:
            waiter.errback(AssertionError(f"it ended: {ended}"))
        self.ended.callback(ended)

    async def kill(self) -> None:
        """End it, if it has not ended; for cleaning up."""
        if not self.ended.called:
            self.transport.signalProcess("KILL")
            await self.ended
