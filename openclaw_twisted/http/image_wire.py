"""The connection that an image comes over: where it may lead, what may come back, how it ends.

An ordinary Agent looks the host up itself, when it connects: whatever was checked before, the name may mean
another address by then (DNS rebinding). Here the connection gets addresses, not a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS, IResponse
from zope.interface import implementer

from openclaw_twisted.errors import GatewayError
from openclaw_twisted.http.image_url import WebAddress
from openclaw_twisted.http.public_addresses import IPAddress

__all__ = ["Body", "Wire", "look_up"]

MAX_ADDRESSES_TRIED = 4
TRY_NEXT_AFTER_SECONDS = 3.0
MAX_HEAD_BYTES = 65_536


async def look_up(resolver: IHostnameResolver, address: WebAddress) -> tuple[IPAddress, ...]:
    """Return every IP address that the host has; none when it is not known."""
    if address.ip is not None:
        return (address.ip,)
    found = _Found()
    resolver.resolveHostName(found, address.host, portNumber=address.port)
    await found.complete
    return tuple(dict.fromkeys(found.addresses))


@implementer(IResolutionReceiver)
class _Found:
    """What a resolver has found so far."""

    def __init__(self) -> None:
        self.addresses: list[IPAddress] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None: ...  # noqa: N802, N803

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self.addresses.append(ip_address(cast("Any", address).host))

    def resolutionComplete(self) -> None:  # noqa: N802
        self.complete.callback(None)


@implementer(IStreamClientEndpoint)
class Wire:
    """One connection, to one of `addresses` and nowhere else, over which one thing is got."""

    def __init__(self, reactor: Any, addresses: Sequence[IPAddress], port: int) -> None:
        self._reactor = reactor
        self._addresses = addresses[:MAX_ADDRESSES_TRIED]
        self._port = port
        self._connection: _Metered | None = None
        self.answered = False

    async def get(self, address: WebAddress, headers: Headers, tls: IPolicyForHTTPS) -> IResponse:
        """Ask for what is at `address`, whose name is believed only with a certificate that `tls` accepts.

        Raises what `Agent` raises.
        """
        endpoint: IStreamClientEndpoint = self
        if address.scheme == "https":
            creator = tls.creatorForNetloc(address.host.encode(), address.port)
            endpoint = wrapClientTLS(creator, self, clock=self._reactor)
        pool = HTTPConnectionPool(self._reactor, persistent=False)
        pool._factory = _QuietFactory  # noqa: SLF001 - the only way to keep two log lines per connection out
        uri = URI.fromBytes(str(address).encode())
        # `Agent.request` would put the path together anew, and some Pythons double a leading // by that.
        asking = Agent(self._reactor, pool=pool)._requestWithEndpoint(  # noqa: SLF001
            (uri.scheme, uri.host, uri.port), endpoint, b"GET", uri, headers, None, address.target.encode()
        )
        response: IResponse = await asking
        self.answered = True
        return response

    def abort(self) -> None:
        """Close the connection, whatever it is doing."""
        if self._connection is not None:
            self._connection.abortConnection()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Connect to the first address that can be reached."""
        return Deferred.fromCoroutine(self._connect(_Metering(protocolFactory, self)))

    async def _connect(self, metering: _Metering) -> IProtocol:
        *others, last = self._addresses
        for address in others:
            try:
                return await self._connect_to(address, metering, seconds=TRY_NEXT_AFTER_SECONDS)
            except ConnectError:
                continue
        return await self._connect_to(last, metering)

    async def _connect_to(
        self, address: IPAddress, metering: _Metering, *, seconds: float = 30.0
    ) -> IProtocol:
        kind = TCP4ClientEndpoint if isinstance(address, IPv4Address) else TCP6ClientEndpoint
        endpoint = kind(self._reactor, str(address), self._port, timeout=seconds)
        self._connection = cast("_Metered", await endpoint.connect(metering))
        return self._connection.wrappedProtocol


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False


class _Metered(ProtocolWrapper):
    """Counts what comes before the answer, because Twisted takes a head of any size."""

    factory: _Metering
    _received = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._received += len(data)
        super().dataReceived(data)
        if self._received > MAX_HEAD_BYTES and not self.factory.wire.answered:
            self.abortConnection()


class _Metering(WrappingFactory):
    noisy = False
    protocol = _Metered

    def __init__(self, wrapped: IProtocolFactory, wire: Wire) -> None:
        super().__init__(wrapped)
        self.wire = wire


class Body(Protocol):
    """An answer's body: `whole` fires with it, or fails with what ended it too soon.

    `charge` is told the size of each piece before it is kept, and raises when that is too much.
    """

    def __init__(self, charge: Callable[[int], None]) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._charge = charge
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Keep a piece, unless it is too much."""
        if self.whole.called:
            return
        try:
            self._charge(len(data))
        except GatewayError:
            self.whole.errback()
        else:
            self._data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Hand the body over; one of unknown length is whole when the connection ends."""
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(bytes(self._data))
        else:
            self.whole.errback(reason)
