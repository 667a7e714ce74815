"""A TCP proxy that breaks connections on purpose, between a gateway and its upstream.

Each connection gets the next `Fault` of a script, and nothing else decides what happens to it, so that a run
can be repeated. What a fault counts are the bytes that the upstream sends, heads included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall, IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Fault", "FaultProxy"]

FLOOD = b"x" * 65536


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one connection; as it stands, nothing does.

    The first `cut_after` bytes get through (None is all), in pieces of `slice_bytes`, one every
    `pause_seconds`; then comes `instead`, then `flood_bytes` of nonsense as fast as they are taken, then the
    `end`: a close, a reset, a close of the sending side alone, or silence. `refuse` resets the connection
    before a byte of the request is read.
    """

    name: str = "none"
    refuse: bool = False
    cut_after: int | None = None
    slice_bytes: int | None = None
    pause_seconds: float = 0.0
    instead: bytes = b""
    flood_bytes: int = 0
    end: Literal["close", "reset", "half-close", "hang"] = "close"


class FaultProxy(Factory):
    """Listens on loopback and connects to `port` there; `faults` says what happens to each connection.

    `met` counts the faults by name; `passed` holds what the upstream sent on the connection that was
    opened last.
    """

    noisy = False

    def __init__(self, reactor: Any, port: int, faults: Iterable[Fault] = ()) -> None:
        self.faults = iter(faults)
        self.met: Counter[str] = Counter()
        self.passed = bytearray()
        self.reactor = reactor
        self.upstream = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.open: set[Protocol] = set()
        self._empty: Deferred[None] | None = None
        self._port: Any = None

    @property
    def base_url(self) -> str:
        """What goes into `models.providers.<id>.baseUrl`."""
        return f"http://127.0.0.1:{self._port.getHost().port}/v1"

    def listen(self) -> None:
        """Take a free port on loopback."""
        self._port = self.reactor.listenTCP(0, self, interface="127.0.0.1", backlog=1024)

    async def stop(self) -> None:
        """Give the port back and abort every connection."""
        await maybeDeferred(self._port.stopListening)
        await self.drop()

    async def drop(self) -> None:
        """Abort every connection and wait until they are gone."""
        if self.open:
            self._empty = Deferred()
            for side in tuple(self.open):
                transport: Any = side.transport
                transport.abortConnection()
            await self._empty

    def buildProtocol(self, addr: Any) -> Protocol:  # noqa: N802
        """Take a connection, and with it the next fault."""
        fault = next(self.faults, Fault())
        self.met[fault.name] += 1
        return _Client(self, fault)

    def opened(self, side: Protocol) -> None:
        """Count one side of a connection."""
        self.open.add(side)

    def closed(self, side: Protocol) -> None:
        """Stop counting it."""
        self.open.discard(side)
        if self._empty is not None and not self.open:
            empty, self._empty = self._empty, None
            empty.callback(None)


@implementer(IPullProducer)
class _Client(Protocol):
    """The side of the one who asks."""

    transport: Any

    def __init__(self, proxy: FaultProxy, fault: Fault) -> None:
        self._proxy = proxy
        self._fault = fault
        self._asked = b""
        self._upstream: _Upstream | None = None
        self._left = fault.cut_after
        self._queue = bytearray()
        self._flood_left = fault.flood_bytes
        self._timer: IDelayedCall | None = None
        self._cut = self._gone = False

    def connectionMade(self) -> None:  # noqa: N802
        self._proxy.opened(self)
        if self._fault.refuse:
            self.transport.abortConnection()
        elif self._left != 0:
            self._proxy.passed = bytearray()
            connecting = connectProtocol(self._proxy.upstream, _Upstream(self._proxy, self))
            connecting.addCallbacks(self._connected, lambda _failure: self.transport.abortConnection())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self._upstream is not None:
            self._upstream.transport.write(data)
        else:
            self._asked += data
            if self._left == 0:
                self.upstream_ended()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self._gone = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._upstream is not None:
            self._upstream.transport.abortConnection()
        self._proxy.closed(self)

    def upstream_said(self, data: bytes) -> None:
        """Pass on what may get through."""
        if self._cut:
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._queue += data
        self._pump()
        if self._left == 0:
            self.upstream_ended()

    def upstream_ended(self) -> None:
        """Go on to what comes after the cut, once all before it is through."""
        if not self._cut:
            self._cut = True
            self._pump()

    def _connected(self, upstream: _Upstream) -> None:
        self._upstream = upstream
        if self._gone:
            upstream.transport.abortConnection()
        else:
            upstream.transport.write(self._asked)

    def _pump(self) -> None:
        if self._gone or self._timer is not None:
            return
        piece = self._queue[: self._fault.slice_bytes]
        del self._queue[: len(piece)]
        if piece:
            self.transport.write(bytes(piece))
        if self._queue:
            self._timer = self._proxy.reactor.callLater(self._fault.pause_seconds, self._next)
        elif self._cut:
            self.transport.write(self._fault.instead)
            self.transport.registerProducer(self, False)  # noqa: FBT003 - Twisted's signature

    def _next(self) -> None:
        self._timer = None
        self._pump()

    def resumeProducing(self) -> None:  # noqa: N802
        """Write a piece of the flood, or come to the end."""
        if self._flood_left > 0:
            self._flood_left -= len(FLOOD)
            self.transport.write(FLOOD)
            return
        self.transport.unregisterProducer()
        match self._fault.end:
            case "close":
                self.transport.loseConnection()
            case "reset":
                self.transport.abortConnection()
            case "half-close":
                self.transport.loseWriteConnection()
            case "hang":
                pass

    def stopProducing(self) -> None:  # noqa: N802
        """Nothing is left to stop: the connection is gone."""


class _Upstream(Protocol):
    """The side of the one who answers."""

    transport: Any

    def __init__(self, proxy: FaultProxy, client: _Client) -> None:
        self._proxy = proxy
        self._client = client

    def connectionMade(self) -> None:  # noqa: N802
        self._proxy.opened(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._proxy.passed += data
        self._client.upstream_said(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self._client.upstream_ended()
        self._proxy.closed(self)
