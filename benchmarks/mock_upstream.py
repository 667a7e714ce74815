"""A model provider that costs next to nothing: `python benchmarks/mock_upstream.py [PORT]`; prints its port.

The model's name says how it answers a request for a stream, with chat completion chunks:

    plain            two words at once
    alone-N          N chunks, one every two milliseconds
    together-N       N chunks in one write
    hold             the first chunk, and then nothing until the client leaves
    step             the first chunk, and one more whenever somebody asks for the model `next`

A request for a whole answer gets the same words in one piece, once the stream would have ended.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec
from httptools import HttpParserError, HttpRequestParser
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["GAP_SECONDS", "NEXT", "Upstream", "main"]

GAP_SECONDS = 0.002
BACKLOG = 4096

NEXT = b'POST / HTTP/1.1\r\nhost: mock\r\ncontent-length: 16\r\n\r\n{"model":"next"}'
"""Sends every stream of the model `step` one more chunk; nothing is answered."""

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END_OF_BODY = b"0\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
USAGE = b'{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}'


def _event(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _chunk(delta: bytes, finish: bytes = b"null") -> bytes:
    choice = b'{"index":0,"delta":%b,"finish_reason":%b}' % (delta, finish)
    return _event(
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[%b]}'
        % choice
    )


def _whole(words: int) -> bytes:
    body = (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m","choices":[{"index":0,'
        b'"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],"usage":%b}'
    ) % (b" word" * words, USAGE)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


ROLE = _chunk(b'{"role":"assistant","content":""}')
WORD = _chunk(b'{"content":" word"}')
TAIL = (
    _chunk(b"{}", b'"stop"')
    + _event(
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[],'
        b'"usage":%b}' % USAGE
    )
    + _event(b"[DONE]")
    + END_OF_BODY
)
PLAIN = STREAM_HEAD + ROLE + WORD * 2 + TAIL
PLAIN_WHOLE = _whole(2)


class _Asked(msgspec.Struct):
    """What of a request's body decides how it is answered."""

    model: str = "plain"
    stream: bool | None = False


_DECODER = msgspec.json.Decoder(_Asked)


class Upstream(Protocol):
    """One connection of a gateway; also what its HTTP parser calls."""

    transport: Any

    def __init__(self, reactor: Any, stepping: set[Upstream]) -> None:
        self._reactor = reactor
        self._stepping = stepping
        self._parser = HttpRequestParser(self)
        self._body = b""
        self._left = 0
        self._next: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Answer every request that is complete; whatever is none ends the connection."""
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Stop answering."""
        self._stepping.discard(self)
        if self._next is not None and self._next.active():
            self._next.cancel()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._body = b""

    def on_body(self, data: bytes) -> None:
        """Take a piece of its body, chunked or not."""
        self._body += data

    def on_message_complete(self) -> None:
        """Answer it; clients that look for more than chat completions are told that there is nothing."""
        if not self._body:
            self.transport.write(NOT_FOUND)
            return
        asked = _DECODER.decode(self._body)
        if asked.model == "next":
            self._step()
        elif asked.stream:
            self._stream(asked.model)
        else:
            self._answer_whole(asked.model)

    def _stream(self, model: str) -> None:
        way, _, count = model.partition("-")
        if way == "alone":
            self._left = int(count)
            self.transport.write(STREAM_HEAD + ROLE)
            self._next = self._reactor.callLater(GAP_SECONDS, self._go_on)
        elif way == "together":
            self.transport.write(STREAM_HEAD + ROLE + WORD * int(count) + TAIL)
        elif way in {"hold", "step"}:
            self.transport.write(STREAM_HEAD + ROLE + WORD)
            if way == "step":
                self._stepping.add(self)
        else:
            self.transport.write(PLAIN)

    def _answer_whole(self, model: str) -> None:
        way, _, count = model.partition("-")
        if way == "alone":
            words = int(count)
            self._next = self._reactor.callLater(words * GAP_SECONDS, self.transport.write, _whole(words))
        elif way == "together":
            self.transport.write(_whole(int(count)))
        elif way != "hold":
            self.transport.write(PLAIN_WHOLE)

    def _step(self) -> None:
        for stream in self._stepping:
            os.write(stream.transport.fileno(), WORD)  # nothing is queued there, and a chunk always fits

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
        self._stepping: set[Upstream] = set()

    def buildProtocol(self, addr: object) -> Upstream:  # noqa: N802
        return Upstream(self._reactor, self._stepping)


def main(port: str = "0") -> None:
    """Listen until the process ends."""
    from twisted.internet import reactor  # noqa: TID251 - a program of its own

    loop: Any = reactor
    listening = loop.listenTCP(int(port), _Connections(loop), interface="127.0.0.1", backlog=BACKLOG)
    print(listening.getHost().port, flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
