"""The user's end of a conversation: lines come in from standard input, text goes out to standard output.

Neither ever blocks the reactor. On a terminal both are opened anew, so that nothing that we change about them
stays behind in the user's shell.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from openclaw_twisted.cli.ending import CommandError

__all__ = ["Lines", "open_lines"]

MAX_LINE_BYTES = 1_000_000
MAX_WAITING_LINES = 1000
# What comes within this time was pasted, not typed: nobody types a line so fast.
PASTE_SECONDS = 0.1

STDIN, STDOUT = 0, 1


@implementer(IHalfCloseableProtocol)
class Lines(Protocol):
    """`next` gives what the user says, `write` tells the user something.

    `urgent` sees every line of a terminal when it comes; those that it returns True for are dealt with.
    `unread` is called when nothing can be written any more.
    """

    transport: Any

    def __init__(self, reactor: Any, *, interactive: bool) -> None:
        self.interactive = interactive
        self.urgent: Callable[[str], bool] = lambda _line: False
        self.unread: Callable[[], None] = lambda: None
        self.closed: Deferred[None] = Deferred()
        self._reactor = reactor
        self._rest = b""
        self._waiting: deque[str | CommandError | None] = deque()
        self._asked: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take what was typed; the last line may be incomplete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self.fail(CommandError(f"A line is longer than {MAX_LINE_BYTES} bytes. Send it in parts."))
        elif len(self._waiting) > MAX_WAITING_LINES and not self.interactive:
            self.transport.pauseProducing()

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").removesuffix("\r")
        if not (self.interactive and self.urgent(text)):
            self._put(text)

    def readConnectionLost(self) -> None:  # noqa: N802
        """Learn that no more lines will come; the last one need not end with a line feed."""
        if self._rest:
            self._line(self._rest)
        self._put(None)

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Learn that nothing can be written any more; nothing else will tell that the end is reached."""
        self.fail(CommandError("The output cannot be written any more."))
        self.closed.callback(None)
        self.unread()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Learn that everything has been written."""
        if not self.closed.called:
            self.closed.callback(None)

    def fail(self, error: CommandError) -> None:
        """Let the next `next` fail; what has not been taken until then is forgotten."""
        self._waiting.clear()
        self._put(error)

    def _put(self, item: str | CommandError | None) -> None:
        self._waiting.append(item)
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.callback(None)

    async def next(self) -> str | None:
        """Return the next line, or on a terminal the lines that were pasted at once; None at the end.

        Raises `CommandError` after `fail`.
        """
        if not self._waiting:
            self.transport.resumeProducing()
            self._asked = Deferred()
            await self._asked
        item = self._waiting.popleft()
        if isinstance(item, CommandError):
            raise item
        if item is None or not self.interactive or item.startswith("/"):
            return item
        await deferLater(self._reactor, PASTE_SECONDS, lambda: None)
        pasted = [item]
        while self._waiting and isinstance(more := self._waiting[0], str) and not more.startswith("/"):
            self._waiting.popleft()
            pasted.append(more)
        return "\n".join(pasted)

    def write(self, text: str) -> None:
        """Write to standard output."""
        self.transport.write(text.encode("utf-8", "replace"))

    async def close(self) -> None:
        """Write what is left and let go of standard input and output."""
        self.transport.loseConnection()
        await self.closed
        with suppress(OSError):
            os.set_blocking(STDIN, True)


def open_lines(reactor: Any) -> Lines:
    """Return the process's standard input and output."""
    lines = Lines(reactor, interactive=os.isatty(STDIN) and os.isatty(STDOUT))
    open_io: Any = StandardIO  # mypy takes it for the one of Windows, which cannot be told where to read
    open_io(lines, _anew(STDIN, os.O_RDONLY), _anew(STDOUT, os.O_WRONLY), reactor=reactor)
    return lines


def _anew(descriptor: int, mode: int) -> int:
    """Return a descriptor of our own for a terminal; anything else is nobody's but ours."""
    if os.isatty(descriptor):
        with suppress(OSError):  # its name may be that of another machine's or container's
            return os.open(os.ttyname(descriptor), mode | os.O_NOCTTY)
    return descriptor
