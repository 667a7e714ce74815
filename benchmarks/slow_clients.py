"""A thousand clients that say as little as they can: `python benchmarks/slow_clients.py [CONNECTIONS]`.

A third of them sends a byte of its headers every half second, a third a byte of its body, a third begins a
body and stops. Meanwhile somebody asks for /health, ten times a second. It prints how long those answers
took, and when the slow ones were closed. The limits are the default ones, but a body may take 20 seconds.

Then a gateway that may open no more than 128 files gets 500 connections, which are all closed after five
seconds: what CPU it used meanwhile, and how soon it answers. Linux.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from typing import Any

from processes import TOKEN, cpu_seconds, gateway, open_files
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.python.failure import Failure

CONNECTIONS = 1000
DRIP_SECONDS = 0.5
PROBE_SECONDS = 0.1
LONGEST_SECONDS = 30
FILES = 128
CROWD = 500
CROWD_SECONDS = 5

HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
WITH_BODY = (
    HEAD
    + b"content-type: application/json\r\ncontent-length: 9999\r\nauthorization: Bearer %b\r\n\r\n{"
    % TOKEN.encode()
)


class Client(Protocol):
    """A connection that knows when it was opened, and when it was closed."""

    transport: Any

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.received = b""
        self.lasted: float | None = None
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:  # noqa: N802
        """Note the time."""
        self._since = self._seconds()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Keep what comes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Note the time."""
        self.lasted = self._seconds() - self._since
        self.closed.callback(None)


class Crowd:
    """Many clients of one gateway."""

    def __init__(self, reactor: Any, port: int) -> None:
        self._reactor = reactor
        self._endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)

    async def connect(self) -> Client:
        """Open a connection."""
        client: Client = await connectProtocol(self._endpoint, Client(self._reactor.seconds))
        return client

    async def healthy(self) -> float:
        """Ask for /health; return how many seconds the answer took, or infinity."""
        began = self._reactor.seconds()
        try:
            client = await self.connect()
        except ConnectError:
            return float("inf")
        client.transport.write(HEALTH)
        limit = self._reactor.callLater(LONGEST_SECONDS, client.transport.abortConnection)
        await client.closed
        if limit.active():
            limit.cancel()
        return float(self._reactor.seconds() - began) if b" 200 " in client.received else float("inf")


async def main(reactor: Any, connections: str = str(CONNECTIONS)) -> None:
    """Print the figures."""
    async with gateway(reactor, 1, limits={"maxConnections": 4096, "bodyDeadlineSeconds": 20}) as (port, _):
        await _slow(reactor, Crowd(reactor, port), int(connections))
    async with gateway(reactor, 1, limits={"maxConnections": 4096}, files=FILES) as (port, pid):
        await _exhausted(reactor, Crowd(reactor, port), pid)


async def _slow(reactor: Any, crowd: Crowd, connections: int) -> None:
    kinds = {"headers": HEAD + b"x: ", "body": WITH_BODY, "body that stops": WITH_BODY}
    clients: dict[str, list[Client]] = {kind: [] for kind in kinds}
    for _ in range(connections // len(kinds)):
        for kind, begin in kinds.items():
            client = await crowd.connect()
            client.transport.write(begin)
            clients[kind].append(client)
    dripping = LoopingCall(_drip, [*clients["headers"], *clients["body"]])
    dripping.clock = reactor
    dripping.start(DRIP_SECONDS)
    took: list[float] = []
    while any(client.lasted is None for some in clients.values() for client in some):
        took.append(await crowd.healthy())
        await deferLater(reactor, PROBE_SECONDS)
    dripping.stop()
    print(f"/health beside {connections} slow clients, asked {len(took)} times: {_figures(took, 1000, 'ms')}")
    for kind, some in clients.items():
        told = sum(b" 408 " in client.received for client in some)
        lasted = _figures([client.lasted or 0.0 for client in some], 1, "s")
        print(f"slow {kind}: {len(some)} connections, {told} were answered 408, closed after {lasted}")


def _drip(clients: list[Client]) -> None:
    for client in clients:
        if client.lasted is None:
            client.transport.write(b"x")


async def _exhausted(reactor: Any, crowd: Crowd, pid: int) -> None:
    before = cpu_seconds(pid)
    clients = await gatherResults([Deferred.fromCoroutine(crowd.connect()) for _ in range(CROWD)])
    await deferLater(reactor, CROWD_SECONDS)
    held = open_files(pid)
    used = cpu_seconds(pid) - before
    left = sum(client.lasted is None for client in clients)
    for client in clients:
        client.transport.abortConnection()
    took = await crowd.healthy()
    print(
        f"{CROWD} connections with {FILES} files: {left} were kept, {held} files open, "
        f"{used:.2f} s of CPU in {CROWD_SECONDS} s; healthy {took * 1000:.0f} ms after they left"
    )


def _figures(values: list[float], factor: float, unit: str) -> str:
    ordered = sorted(value * factor for value in values)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"p50 {median(ordered):.1f} {unit}, p99 {p99:.1f} {unit}, max {ordered[-1]:.1f} {unit}"


if __name__ == "__main__":
    react(main, sys.argv[1:])
