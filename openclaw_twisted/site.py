"""One port: WebSocket upgrades go to one door, everything else to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from openclaw_twisted.config.settings import GatewaySettings
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.connection import Door, GatewayChannel
from openclaw_twisted.http.request import GatewayRequest

__all__ = ["GatewaySite"]

SERVER = b"openclaw-gateway"

_COMMON_HEADERS = {
    b"Server": SERVER,  # in the place of Twisted's, which tells its version
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
}


class GatewaySite(Site):
    """What listens on the port.

    `websockets` counts the connections that have become WebSockets; `observe` hears of each answer: its
    route's name, its status; `dropped` hears why a connection was not kept.
    """

    protocol: Any = GatewayChannel
    noisy = False
    displayTracebacks = False  # noqa: N815 - Twisted's name

    def __init__(  # noqa: PLR0913 - the one place where both doors and what they share meet
        self,
        *,
        http: IResource,
        websocket: IResource,
        admission: Admission,
        clock: IReactorTime,
        settings: GatewaySettings,
        websockets: Callable[[], int] = lambda: 0,
        observe: Callable[[str, int], object] = lambda _route_name, _status: None,
        dropped: Callable[[str], object] = lambda _reason: None,
        most_connections: int | None = None,
    ) -> None:
        """`most_connections` is how many can be open at all, whatever the settings allow."""
        self._most_connections = most_connections
        self.observe = observe
        self.dropped = dropped
        self._websockets = websockets
        self.limits = settings.limits
        super().__init__(
            websocket,  # for all that is not answered by `http`: upgrades, whatever their path
            GatewayRequest,
            parsePOSTFormSubmission=False,
            timeout=self.limits.connection_idle_seconds,
            reactor=clock,
        )
        self.clock = clock
        self.take(http, admission, settings)
        self._channels: set[GatewayChannel] = set()
        self._empty: Deferred[None] | None = None

    def take(self, http: IResource, admission: Admission, settings: GatewaySettings) -> None:
        """Serve requests like this from now on; those that were admitted before end as they began."""
        self.http = http
        self.admission = admission
        self.limits = settings.limits
        self.timeOut = settings.limits.connection_idle_seconds
        allowed = settings.limits.max_connections
        self._max_connections = min(allowed, self._most_connections or allowed)
        self.common_headers = dict(_COMMON_HEADERS)
        if hsts := settings.http.security_headers.strict_transport_security:
            self.common_headers[b"Strict-Transport-Security"] = hsts.encode("latin-1")

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 - Twisted's name
        """Take a connection, or close it at once when too many are open."""
        if len(self._channels) + self._websockets() >= self._max_connections:
            self.dropped("too_many_connections")
            return None
        channel = super().buildProtocol(addr)
        channel.totalHeadersSize = self.limits.max_header_bytes
        channel.maxHeaders = self.limits.max_headers
        # A line of the head may be as long as the head; Twisted's own limit is another one.
        channel.MAX_LENGTH = max(self.limits.max_header_bytes, self.limits.max_request_line_bytes)
        return channel

    @property
    def connections(self) -> int:
        """How many HTTP connections are open."""
        return len(self._channels)

    def opened(self, channel: GatewayChannel) -> None:
        """Count a connection."""
        self._channels.add(channel)

    def closed(self, channel: GatewayChannel) -> None:
        """Stop counting a connection: it is gone, or a WebSocket now."""
        self._channels.discard(channel)
        if self._empty is not None and not self._channels:
            empty, self._empty = self._empty, None
            empty.callback(None)

    async def drop_connections(self) -> None:
        """Abort every HTTP connection and wait until they are gone."""
        if self._channels:
            self._empty = Deferred()
            for channel in tuple(self._channels):
                channel.transport.abortConnection()
            await self._empty

    def log(self, request: HTTPRequest) -> None:
        """Count an answer; there is no access log, runs and refusals are logged where they are decided."""
        assert isinstance(request, GatewayRequest)
        self.observe(request.route_name, request.code)


_fits: type[Door] = GatewaySite
