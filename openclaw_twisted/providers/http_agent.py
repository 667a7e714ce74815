"""An agent for many requests to few origins, with the connections that it keeps open.

It is no `IAgent`: that is told the URL and the headers of each request anew. Here they are the same for many
requests, so they are encoded once (`RequestHead`). Twisted's agent also makes an endpoint for each request,
even when it has a connection, and takes an answer apart in Python. Together that was most of the CPU time of
a request through this gateway (docs/benchmarks has the figures).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionClosed
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.client import URI, BrowserLikePolicyForHTTPS, ResponseNeverReceived
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from openclaw_twisted.providers.http_exchange import Exchange, HttpResponse, Origin, RequestHead
from openclaw_twisted.providers.transport import FindProxy
from openclaw_twisted.providers.tunnel import Proxy, Tunnel

__all__ = ["HttpAgent", "Ways"]


@implementer(IAgentEndpointFactory)
class Ways:
    """How origins are reached: directly or through a proxy, and with TLS where their URL says https."""

    def __init__(
        self,
        reactor: Any,
        *,
        connect_seconds: float,
        policy: IPolicyForHTTPS | None = None,
        find_proxy: FindProxy | None = None,
    ) -> None:
        self._reactor = reactor
        self._connect_seconds = connect_seconds
        self._policy = policy or BrowserLikePolicyForHTTPS()
        self._find_proxy = find_proxy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802
        """Return the endpoint of a URL's origin."""
        host = uri.host.decode("ascii")
        proxy = self._find_proxy(uri.scheme.decode("ascii"), host, uri.port) if self._find_proxy else None
        way = self._direct(host, uri.port) if proxy is None else self._through(proxy, host, uri.port)
        if uri.scheme == b"https":
            secured = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), way)
            return _Secured(secured, self._reactor, seconds=self._connect_seconds)
        return way

    def _through(self, proxy: Proxy, host: str, port: int) -> IStreamClientEndpoint:
        return Tunnel(
            self._reactor,
            self._direct(proxy.host, proxy.port),
            request=proxy.headers(_authority(host, port)),
            seconds=self._connect_seconds,
        )

    def _direct(self, host: str, port: int) -> IStreamClientEndpoint:
        if isIPAddress(host):
            # There is nothing to choose between, so a refusal need not wait for other addresses.
            return TCP4ClientEndpoint(self._reactor, host, port, timeout=self._connect_seconds)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(self._reactor, host, port, timeout=self._connect_seconds)
        named = _AnyHostEndpoint(self._reactor, host.encode("ascii"), port, timeout=self._connect_seconds)
        return _Named(named, self._reactor, seconds=self._connect_seconds)


class HttpAgent:
    """Sends requests; keeps at most `keep_at_most` idle connections to each origin, for `keep_seconds`.

    `endpoints` says how an origin is reached; it is asked once for each.
    """

    def __init__(
        self, clock: IReactorTime, endpoints: IAgentEndpointFactory, *, keep_at_most: int, keep_seconds: float
    ) -> None:
        self._clock = clock
        self._endpoints = endpoints
        self._keep_at_most = keep_at_most
        self._keep_seconds = keep_seconds
        self._ways: dict[Origin, IStreamClientEndpoint] = {}
        self._idle: dict[Origin, deque[Exchange]] = {}
        self._open: set[Exchange] = set()
        self._sweeping: IDelayedCall | None = None
        self._empty: Deferred[None] | None = None
        self._closing = False

    def send(self, head: RequestHead, body: bytes) -> Deferred[HttpResponse]:
        """Send a request; fires with the response when its head is here.

        Fails as connecting does, or with `ResponseNeverReceived` or `ResponseFailed`. Cancelling closes the
        connection.
        """
        idle = self._idle.get(head.origin)
        if idle:
            # The one that was used last is the least likely to be closed by its server just now.
            asking: Deferred[Any] = idle.pop().ask(head.with_body(body))
            return asking.addErrback(self._ask_anew, head, body)
        return self._connect(head, body)

    @property
    def connections(self) -> int:
        """How many connections are open, idle ones included."""
        return len(self._open)

    def retire(self) -> None:
        """Close what is idle now, and everything else when its answer has ended."""
        self._keep_at_most = 0
        for idle in self._idle.values():
            while idle:
                idle.popleft().retire()

    async def close(self) -> None:
        """Close every connection, those in use too, and wait until they are gone."""
        self._closing = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._idle.clear()
        if self._open:
            empty = self._empty = Deferred()
            for exchange in tuple(self._open):
                exchange.abort()
            await empty

    def new_connection(self, origin: Origin) -> Exchange:
        """Return the protocol for a connection that is just being made."""
        exchange = Exchange(origin, reusable=self._keep, gone=self._forget)
        self._open.add(exchange)
        return exchange

    def _connect(self, head: RequestHead, body: bytes) -> Deferred[HttpResponse]:
        connecting: Deferred[Any] = self._way(head).connect(_Connections(self, head.origin))
        return connecting.addCallback(lambda exchange: exchange.ask(head.with_body(body)))

    def _ask_anew(self, failure: Failure, head: RequestHead, body: bytes) -> Any:
        """Send a request again that met a kept connection which its server had just closed."""
        error = failure.value
        stale = isinstance(error, ResponseNeverReceived) and error.reasons[0].check(ConnectionClosed)
        return self._connect(head, body) if stale and not self._closing else failure

    def _way(self, head: RequestHead) -> IStreamClientEndpoint:
        way = self._ways.get(head.origin)
        if way is None:
            way = self._ways[head.origin] = self._endpoints.endpointForURI(URI.fromBytes(head.uri))
        return way

    def _keep(self, exchange: Exchange) -> None:
        idle = self._idle.get(exchange.origin)
        if idle is None:
            idle = self._idle[exchange.origin] = deque()
        exchange.idle_since = self._clock.seconds()
        idle.append(exchange)
        if len(idle) > self._keep_at_most:
            idle.popleft().retire()
        elif self._sweeping is None:
            self._sweeping = self._clock.callLater(self._keep_seconds, self._sweep)

    def _forget(self, exchange: Exchange) -> None:
        self._open.discard(exchange)
        idle = self._idle.get(exchange.origin, ())
        if exchange in idle:
            self._idle[exchange.origin].remove(exchange)
        if self._empty is not None and not self._open:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer for all of them costs no request anything."""
        self._sweeping = None
        now = self._clock.seconds()
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since >= self._keep_seconds:
                idle.popleft().retire()
        oldest = min((idle[0].idle_since for idle in self._idle.values() if idle), default=None)
        if oldest is not None:
            self._sweeping = self._clock.callLater(oldest + self._keep_seconds - now, self._sweep)


class _AnyHostEndpoint(HostnameEndpoint):
    """One for every name that can be looked up: those of containers have underscores, which IDNA has not."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:  # noqa: N802 - Twisted's name
        assert isinstance(host, bytes)
        return False, host, host.decode("ascii")


def _authority(host: str, port: int) -> bytes:
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")


class _InTime:
    """An endpoint that gives another one so many seconds for what that has no limit for."""

    def __init__(self, endpoint: IStreamClientEndpoint, clock: IReactorTime, *, seconds: float) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._seconds = seconds


@implementer(IStreamClientEndpoint)
class _Named(_InTime):
    """An endpoint that looks a name up first, within the time for a connection and until nobody wants it.

    Twisted's own does not limit the time of that, and takes a look-up that is cancelled for one that failed.
    """

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:  # noqa: N803 - the interface's name
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)

        def give_up(waiter: Deferred[Any]) -> None:
            waiter.errback(CancelledError())
            connecting.cancel()

        def settle(result: Any) -> None:
            if not waiter.called:
                waiter.callback(result)

        waiter: Deferred[Any] = Deferred(give_up)
        connecting.addBoth(settle)
        late = Failure(ConnectTimeoutError())
        return waiter.addTimeout(self._seconds, self._clock, onTimeoutCancel=lambda _result, _seconds: late)


@implementer(IStreamClientEndpoint)
class _Secured(_InTime):
    """An endpoint that has connected when TLS stands, which gets as much time as the connection before it."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:  # noqa: N803 - the interface's name
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(self._secure)

    def _secure(self, exchange: Any) -> Any:
        if not isinstance(exchange, Exchange):  # of Twisted's own agent, which fetches the files of models
            return exchange
        late = Failure(ConnectTimeoutError())
        return exchange.secured().addTimeout(
            self._seconds, self._clock, onTimeoutCancel=lambda _result, _seconds: late
        )


class _Connections(Factory):
    noisy = False

    def __init__(self, agent: HttpAgent, origin: Origin) -> None:
        self._agent = agent
        self._origin = origin

    def buildProtocol(self, addr: object) -> Exchange:  # noqa: N802
        return self._agent.new_connection(self._origin)
