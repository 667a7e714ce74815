"""An OpenAI-compatible server that the test plays, on a real loopback socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from openclaw_twisted.sse import DONE, encode

__all__ = ["FakeUpstream", "UpstreamCall", "chunk", "stream_of"]

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class UpstreamCall(Protocol):
    """One connection to a `FakeUpstream` with the request that came over it.

    Answer it by hand: `send` writes raw bytes, `stream` begins an SSE answer, `event` adds to it,
    `end` completes it; `hang_up` closes and `reset` aborts the connection. `closed` fires when the
    gateway has closed it.
    """

    transport: Any

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self.closed: Deferred[None] = Deferred()
        self.headers: dict[str, str] = {}
        self.path = ""
        self.body: Any = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Gather a request; hand it over when it is whole."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        length = int(self.headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self.path = first.split(" ")[1]
        self.body = msgspec.json.decode(rest[:length]) if length else None
        self._buffer = rest[length:]
        self._upstream.called(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell that the connection is gone."""
        self._upstream.open.discard(self)
        closed, self.closed = self.closed, Deferred()
        closed.callback(None)

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.transport.write(data)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Write a whole answer."""
        told = {"content-length": str(len(body)), **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
        lines = [f"HTTP/1.1 {status} Whatever", *lines, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def stream(self, *events: bytes) -> None:
        """Begin an SSE answer."""
        self.send(SSE_HEAD)
        for event in events:
            self.event(event)

    def event(self, event: bytes) -> None:
        """Add to an SSE answer, in one HTTP chunk."""
        self.send(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def end(self) -> None:
        """Complete a chunked answer; the connection may be used again."""
        self.send(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Close the connection."""
        self.transport.loseConnection()

    def reset(self) -> None:
        """Abort the connection."""
        self.transport.abortConnection()


class FakeUpstream(Factory):
    """An OpenAI-compatible server on loopback that the test plays.

    Each call goes to `behaviour`, or without one to the queue `calls`.
    """

    def __init__(self, behaviour: Callable[[UpstreamCall], object] | None = None) -> None:
        self.behaviour = behaviour
        self.calls: DeferredQueue[UpstreamCall] = DeferredQueue()
        self.connections = 0
        self.open: set[UpstreamCall] = set()
        self._port: Any = None

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._port.getHost().port)

    @property
    def base_url(self) -> str:
        """What goes into `models.providers.<id>.baseUrl`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def listen(self, reactor: Any) -> None:
        """Take a free port on loopback."""
        self._port = reactor.listenTCP(0, self, interface="127.0.0.1")

    async def stop(self) -> None:
        """Give the port back and close what is open."""
        await maybeDeferred(self._port.stopListening)
        for call in tuple(self.open):
            closed = call.closed
            call.reset()
            await closed

    def buildProtocol(self, addr: Any) -> UpstreamCall:  # noqa: N802
        """Take a connection."""
        self.connections += 1
        call = UpstreamCall(self)
        self.open.add(call)
        return call

    def called(self, call: UpstreamCall) -> None:
        """Hand on a request that has arrived."""
        if self.behaviour is not None:
            self.behaviour(call)
        else:
            self.calls.put(call)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """Return one chat completion chunk as an SSE event."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return encode(msgspec.json.encode({"id": "chatcmpl-up", "choices": [choice], **more}))


def stream_of(*pieces: str, usage: tuple[int, int] = (3, 2)) -> list[bytes]:
    """Return the events of a whole streamed answer: each piece of text, the finish, the counts, the end."""
    prompt, completion = usage
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return [
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, "stop"),
        encode(msgspec.json.encode({"choices": [], "usage": counts})),
        DONE,
    ]
