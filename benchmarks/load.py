"""Requests over keep-alive connections, as cheap as a client in Python can send them, and what they took.

`closed` keeps N requests in flight; `open_loop` starts them at a fixed rate, whatever the server does, and
counts time from when each was due; `hold` opens streams and keeps them; `in_step` gives each of them one
event at a time. An answer is only looked at as far
as needed to know where it ends; one that is not a 200 counts as an error.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

__all__ = ["Load", "Peer", "Tally"]

END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(frozen=True)
class Peer:
    """A server under test: where it is, its token, the model to ask, and headers for each request."""

    host: str
    port: int
    token: str
    model: str
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
        """Return a whole request."""
        data = json.dumps({"model": self.model, **body}).encode()
        given = {
            "host": f"{self.host}:{self.port}",
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "content-length": str(len(data)),
            **self.headers,
            **(headers or {}),
        }
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return "\r\n".join([*lines, "", ""]).encode() + data


@dataclass
class Tally:
    """What came back; times in seconds."""

    answers: int = 0
    errors: int = 0
    events: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_events: list[float] = field(default_factory=list)
    awaited_events: float = float("inf")
    on_awaited: Callable[[], object] = lambda: None

    def latency(self, percent: int, of: list[float] | None = None) -> float:
        """Return a percentile in milliseconds."""
        values = self.latencies if of is None else of
        if len(values) < 2:  # noqa: PLR2004
            return values[0] * 1000 if values else float("nan")
        return quantiles(values, n=100)[percent - 1] * 1000


class _Client(Protocol):
    """One keep-alive connection: one request at a time."""

    transport: Any

    def __init__(self, clock: Any, tally: Tally) -> None:
        self._clock = clock
        self._tally = tally
        self._received = bytearray()
        self._scanned = 0
        self._due = 0.0
        self._first = False
        self._done: Deferred[None] | None = None
        self._head: bytes | None = None
        self._length = -1
        self.on_event: Callable[[], object] | None = None
        self.lost: Deferred[None] = Deferred()

    def ask(self, request: bytes, due: float | None = None) -> Deferred[None]:
        """Send a request; fires when its answer is complete, or the connection is gone."""
        self._due = self._clock.seconds() if due is None else due
        self._received.clear()
        self._head, self._length, self._first, self._scanned = None, -1, False, 0
        self._done = Deferred()
        self.transport.write(request)
        return self._done

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self._head is None:
            self._received += data
            head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
            if not found:
                return
            self._head = head.lower()
            self._received = bytearray(rest)
            _, told, after = self._head.partition(b"\r\ncontent-length: ")
            self._length = int(after.partition(b"\r\n")[0]) if told else -1
            data = rest
        elif self._length >= 0:
            self._received += data
        else:
            self._received = bytearray(self._received[-8:] + data)
        if self._length >= 0:
            if len(self._received) >= self._length:
                self._complete()
            return
        count = data.count(b"data: ")
        tally = self._tally
        tally.events += count
        if tally.events >= tally.awaited_events:
            tally.awaited_events = float("inf")
            tally.on_awaited()
        if count and not self._first and b"content" in data:
            self._first = True
            self._tally.first_events.append(self._clock.seconds() - self._due)
            if self.on_event is not None:
                self.on_event()
                return
        if self._received.endswith(END_OF_CHUNKS):
            self._complete()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self.lost.callback(None)
        if self._done is not None:
            self._tally.errors += 1
            done, self._done = self._done, None
            done.callback(None)

    def _complete(self) -> None:
        assert self._head is not None
        tally = self._tally
        if self._head.startswith(b"http/1.1 200"):
            tally.answers += 1
            tally.latencies.append(self._clock.seconds() - self._due)
        else:
            tally.errors += 1
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)


class Load:
    """A load generator for one peer."""

    def __init__(self, reactor: Any, peer: Peer) -> None:
        self._reactor = reactor
        self._peer = peer

    async def closed(
        self, concurrency: int, seconds: float, request: Callable[[int], bytes], *, at_most: int | None = None
    ) -> Tally:
        """Keep `concurrency` requests in flight for a while; `request` gives the bytes of the n-th."""
        tally = Tally()
        clients = [await self._connect(tally) for _ in range(concurrency)]
        began = self._reactor.seconds()
        number = 0

        async def work(client: _Client) -> None:
            nonlocal number
            while self._reactor.seconds() - began < seconds and (at_most is None or number < at_most):
                number += 1
                if client.lost.called:  # the server may end it after any answer
                    client = await self._connect(tally)
                    clients.append(client)
                await client.ask(request(number))

        for working in [Deferred.fromCoroutine(work(client)) for client in clients]:
            await working
        tally.seconds = self._reactor.seconds() - began
        await _close(clients)
        return tally

    async def open_loop(self, rate: float, seconds: float, request: Callable[[int], bytes]) -> Tally:
        """Start `rate` requests a second, on as many connections as that takes."""
        tally = Tally()
        idle: deque[_Client] = deque()
        everybody: list[_Client] = []
        working: list[Deferred[None]] = []
        began = self._reactor.seconds()

        async def one(number: int, due: float) -> None:
            if not idle:
                client = await self._connect(tally)
                everybody.append(client)
            else:
                client = idle.popleft()
            await client.ask(request(number), due)
            idle.append(client)

        for number in range(int(rate * seconds)):
            due = began + number / rate
            wait = due - self._reactor.seconds()
            if wait > 0:
                await deferLater(self._reactor, wait)
            working.append(Deferred.fromCoroutine(one(number, due)))
        for each in working:
            await each
        tally.seconds = self._reactor.seconds() - began
        await _close(everybody)
        return tally

    async def hold(self, count: int, request: bytes) -> tuple[Tally, Callable[[], None]]:
        """Open `count` streams, wait for the first event of each; the second value lets them go."""
        tally = Tally()
        clients = []
        for _ in range(count):
            client = await self._connect(tally)
            clients.append(client)
            begun: Deferred[None] = Deferred()
            client.on_event = lambda begun=begun: begun.callback(None)  # type: ignore[misc]
            client.ask(request)
            await begun
        return tally, lambda: _abort(clients)

    async def in_step(self, tally: Tally, count: int, seconds: float, step: Callable[[], object]) -> None:
        """Have `step` send one more event to each of `count` held streams, again whenever all have come."""
        tally.events = 0
        began = self._reactor.seconds()
        while self._reactor.seconds() - began < seconds:
            all_here: Deferred[None] = Deferred()
            tally.on_awaited = partial(all_here.callback, None)
            tally.awaited_events = tally.events + count
            step()
            await all_here
        tally.seconds = self._reactor.seconds() - began

    async def hang_ups(self, count: int, concurrency: int, request: bytes) -> Tally:
        """Open `count` streams and hang up on each at its first event."""
        total = Tally()
        began = self._reactor.seconds()
        left = count

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                _tally, let_go = await self.hold(1, request)
                let_go()
                total.answers += 1

        for working in [Deferred.fromCoroutine(work()) for _ in range(concurrency)]:
            await working
        total.seconds = self._reactor.seconds() - began
        return total

    async def _connect(self, tally: Tally) -> _Client:
        endpoint = TCP4ClientEndpoint(self._reactor, self._peer.host, self._peer.port)
        client: _Client = await connectProtocol(endpoint, _Client(self._reactor, tally))
        client.transport.setTcpNoDelay(True)
        return client


async def _close(clients: list[_Client]) -> None:
    for client in clients:
        client.transport.loseConnection()
    for client in clients:
        await client.lost


def _abort(clients: list[_Client]) -> None:
    for client in clients:
        client.transport.abortConnection()
