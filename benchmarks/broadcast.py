"""What it costs to tell a thousand clients: `python benchmarks/broadcast.py [CLIENTS] [SECONDS]`.

A gateway tells CLIENTS WebSocket clients of a run that says a word every 0.4 s, for SECONDS. It does so
twice: first all of them read; then every hundredth has stopped reading, with megabytes waiting for it. It
prints the gateway's CPU for each broadcast (a word is two of them, an `agent` and a `chat` event), and how
much later than the first of them a reading client hears a word. Clients that do not read may not change the
p99 by more than 10 %. The clients are in this process, the gateway has a core of its own. Linux.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any

from processes import TOKEN, cpu_seconds, gateway
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater, react

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk

CLIENTS = 1000
SECONDS = 10
WORD_SECONDS = 0.4  # more than the gateway gathers words for, so that each is told on its own
EVENTS_PER_WORD = 2
STALLED_IN_100 = 1
PATIENCE_SECONDS = 3.0
AT_A_TIME = 16
RECEIVE_BUFFER_BYTES = 4096
BACKLOG_REQUESTS = 4000
HEARD = b'"state":"delta"'

_UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
_CONNECT = {
    "minProtocol": 4,
    "maxProtocol": 4,
    "client": {"id": "gateway-client", "version": "0", "platform": "linux", "mode": "backend"},
    "role": "operator",
    "scopes": ["operator.read", "operator.write"],
    "auth": {"token": TOKEN},
}


def _request(method: str, params: Any) -> bytes:
    """Return a frame as a client sends it; the mask is all zeros."""
    data = json.dumps({"type": "req", "id": method, "method": method, "params": params}).encode()
    return struct.pack("!BBH", 0x81, 0xFE, len(data)) + bytes(4) + data


class Listener(Protocol):
    """A client that does no more than it must: it notes when it has heard a word."""

    transport: Any

    def __init__(self, clock: Any) -> None:
        self.heard: list[float] = []
        self.logged_in: Deferred[None] = Deferred()
        self._clock = clock
        self._tail = b""

    def connectionMade(self) -> None:  # noqa: N802
        """Ask for a WebSocket."""
        self.transport.write(_UPGRADE)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Log in, then count."""
        data = self._tail + data
        if self.logged_in.called:
            self.heard += [self._clock.seconds()] * data.count(HEARD)
            self._tail = data[-len(HEARD) + 1 :]
        elif b'"hello-ok"' in data:
            self._tail = b""
            self.logged_in.callback(None)
        elif b"connect.challenge" in data:
            self._tail = b""
            self.transport.write(_request("connect", _CONNECT))
        else:
            self._tail = data

    def stall(self) -> None:
        """Read nothing more, and have more sent than any socket takes."""
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.transport.pauseProducing()
        self.transport.write(_request("config.get", {}) * BACKLOG_REQUESTS)


class Speaker:
    """A model that says a word at a time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.words = 0

    def answer(self, call: UpstreamCall) -> None:
        """Begin to speak."""
        call.stream()
        Deferred.fromCoroutine(self._speak(call))

    async def _speak(self, call: UpstreamCall) -> None:
        for _ in range(self.words):
            call.send(b"%x\r\n%b\r\n" % (len(_WORD), _WORD))
            await deferLater(self._reactor, WORD_SECONDS)
        call.end()


_WORD = chunk({"content": "word "})


async def _crowd(reactor: Any, port: int, count: int) -> list[Listener]:
    endpoint, listeners = TCP4ClientEndpoint(reactor, "127.0.0.1", port), list[Listener]()

    async def come() -> None:
        while len(listeners) < count:
            listener = Listener(reactor)
            listeners.append(listener)
            await connectProtocol(endpoint, listener)
            await listener.logged_in

    await gatherResults([Deferred.fromCoroutine(come()) for _ in range(AT_A_TIME)])
    return listeners


async def _listen(reactor: Any, readers: list[Listener], *, pid: int, words: int, key: str) -> list[float]:
    """Have a run told; returns by how much each reader heard each word later than the first one did."""
    for reader in readers:
        reader.heard.clear()
    said = {"message": "speak", "sessionKey": key, "idempotencyKey": key}
    before = cpu_seconds(pid)
    readers[0].transport.write(_request("agent", said))
    await deferLater(reactor, words * WORD_SECONDS + PATIENCE_SECONDS)
    told = {len(reader.heard) for reader in readers}
    if len(told) > 1 or not min(told):  # words that a busy gateway told together are one for everybody
        raise SystemExit(
            f"readers heard {min(told)} to {max(told)} of {words} words: too much for this machine"
        )
    words = min(told)
    spent = (cpu_seconds(pid) - before) / (words * EVENTS_PER_WORD)
    firsts = [min(reader.heard[word] for reader in readers) for word in range(words)]
    late = sorted(reader.heard[word] - firsts[word] for reader in readers for word in range(words))
    middle, high = late[len(late) // 2], late[len(late) * 99 // 100]
    print(
        f"{key}: {spent * 1000:.2f} ms CPU a broadcast, {spent / len(readers) * 1e6:.1f} us a client,",
        end=" ",
    )
    print(f"later than the first by p50 {middle * 1000:.1f} ms, p99 {high * 1000:.1f} ms")
    return late


async def main(reactor: Any, clients: str = str(CLIENTS), seconds: str = str(SECONDS)) -> None:
    """Print the figures."""
    speaker = Speaker(reactor)
    speaker.words = int(float(seconds) / WORD_SECONDS)
    upstream = FakeUpstream(speaker.answer)
    upstream.listen(reactor)
    try:
        async with gateway(reactor, upstream.port) as (port, pid):
            crowd = await _crowd(reactor, port, int(clients))
            stalled = crowd[:: 100 // STALLED_IN_100]
            readers = [listener for listener in crowd if listener not in stalled]
            figures = {}
            for key in ("warm-up", "all-read", "some-stall"):
                if key == "some-stall":
                    for listener in stalled:
                        listener.stall()
                    await deferLater(reactor, 5.0)
                late = await _listen(reactor, readers, pid=pid, words=speaker.words, key=key)
                figures[key] = late[len(late) * 99 // 100]
            change = figures["some-stall"] / figures["all-read"] - 1
            print(f"{len(stalled)} of {len(crowd)} that do not read change the p99 by {change:+.1%}")
            for listener in crowd:
                listener.transport.abortConnection()
    finally:
        await upstream.stop()


if __name__ == "__main__":
    react(main, sys.argv[1:])
