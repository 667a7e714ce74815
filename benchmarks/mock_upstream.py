"""A model provider that costs next to nothing: `python benchmarks/mock_upstream.py [PORT]`; prints its port.

The model's name says how it answers, always as an SSE stream of chat completion chunks:

    plain            two words at once
    alone-N          N chunks, one every two milliseconds
    together-N       N chunks in one write
    hold             the first chunk, and then nothing until the client leaves

It reads only as much of HTTP as the clients under test write: a head with a Content-Length, and a body.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["GAP_SECONDS", "Upstream", "main"]

GAP_SECONDS = 0.002
BACKLOG = 4096

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END_OF_BODY = b"0\r\n\r\n"
_MODEL = re.compile(rb'"model":\s*"([^"]+)"')
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


def _event(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _chunk(delta: bytes, finish: bytes = b"null") -> bytes:
    choice = b'{"index":0,"delta":%b,"finish_reason":%b}' % (delta, finish)
    return _event(
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[%b]}'
        % choice
    )


ROLE = _chunk(b'{"role":"assistant","content":""}')
WORD = _chunk(b'{"content":" word"}')
TAIL = (
    _chunk(b"{}", b'"stop"')
    + _event(
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[],'
        b'"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}}'
    )
    + _event(b"[DONE]")
    + END_OF_BODY
)
PLAIN = HEAD + ROLE + WORD + WORD + TAIL


class Upstream(Protocol):
    """One connection of a gateway."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._received = b""
        self._left = 0
        self._next: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Answer every request that is complete."""
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if not found or length is None or len(rest) < int(length[1]):
                return
            body, self._received = rest[: int(length[1])], rest[int(length[1]) :]
            model = _MODEL.search(body)
            self._answer(model[1].decode() if model else "plain")

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Stop answering."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _answer(self, model: str) -> None:
        way, _, count = model.partition("-")
        if way == "alone":
            self._left = int(count)
            self.transport.write(HEAD + ROLE)
            self._next = self._reactor.callLater(GAP_SECONDS, self._go_on)
        elif way == "together":
            self.transport.write(HEAD + ROLE + WORD * int(count) + TAIL)
        elif way == "hold":
            self.transport.write(HEAD + ROLE + WORD)
        else:
            self.transport.write(PLAIN)

    def _go_on(self) -> None:
        if not self._left:
            self.transport.write(TAIL)
            return
        self._left -= 1
        self.transport.write(WORD)
        self._next = self._reactor.callLater(GAP_SECONDS, self._go_on)


class _Connections(Factory):
    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def buildProtocol(self, addr: object) -> Upstream:  # noqa: N802
        return Upstream(self._reactor)


def main(port: str = "0") -> None:
    """Listen until the process ends."""
    from twisted.internet import reactor  # noqa: TID251 - a program of its own

    loop: Any = reactor
    listening = loop.listenTCP(int(port), _Connections(loop), interface="127.0.0.1", backlog=BACKLOG)
    print(listening.getHost().port, flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
