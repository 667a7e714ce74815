"""One port: WebSocket upgrades go to one door, everything else to the other.

Twisted knows a request when its head is complete (`gotLength`), reads the body, and then dispatches it
(`process`). Admission sits in the first hook, so a refused caller's body is never kept: a short one is
read past and answered on the same connection; a long one gets its answer at once, and the connection is
closed as soon as the client had a chance to read it. (Closing while bytes arrive makes the kernel reset
the connection, which can destroy the answer on its way.)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from openclaw_twisted.config.settings import GatewaySettings
from openclaw_twisted.errors import GatewayError, HeadersTooLargeError, InvalidRequestError, TooLargeError
from openclaw_twisted.http.admission import MAX_DISCARDED_BYTES, Admission, Admitted, Head
from openclaw_twisted.http.endpoint import Reply, error_reply, raw_reply, send

__all__ = ["GatewaySite", "is_upgrade"]

LINGER_SECONDS = 2.0
MAX_LINGER_BYTES = 4 * 1024 * 1024

NO_ROUTE = "none"
WEBSOCKET = "websocket"
"""What answers are counted under when no route was matched, and when a WebSocket was refused."""

SERVER = b"openclaw-gateway"

_COMMON_HEADERS = {b"x-content-type-options": b"nosniff", b"referrer-policy": b"no-referrer"}

_SANE_ID = re.compile(rb"[\w.:-]{1,128}")


def is_upgrade(request: Request) -> bool:
    """Tell whether a request asks for a WebSocket; other upgrades (h2c) are ignored, as HTTP allows."""
    asked = request.requestHeaders.getRawHeaders(b"upgrade") or ()
    return any(protocol.strip().lower() == b"websocket" for protocol in asked)


class GatewayRequest(Request):
    """A request that is admitted or refused before its body arrives."""

    channel: GatewayChannel
    admitted: Admitted | None = None
    refused: GatewayError | None = None
    route_name = NO_ROUTE
    _answered_early = False
    _preflight: Mapping[str, str] | None = None
    _cross_origin: Mapping[bytes, bytes] = MappingProxyType({})
    defaultContentType = None  # noqa: N815 - Twisted's name; every answer says its own

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Decide on the head alone."""
        # The base class would spill large bodies to a file, which blocks.
        self.content = BytesIO()
        self._room = 0
        if is_upgrade(self):
            self.route_name = WEBSOCKET
            return
        admission = self.channel.site.admission
        head = self._head(length)
        self._cross_origin = admission.cross_origin(self.requestHeaders)
        try:
            self._preflight = admission.preflight(head)
            if self._preflight is None:
                self.admitted = admission.admit(head)
        except GatewayError as error:
            self.refused = error
            self.route_name = admission.route_name(head) or NO_ROUTE
            if length is None or length > MAX_DISCARDED_BYTES or self.requestHeaders.hasHeader(b"expect"):
                self._refuse_now(error)
        else:
            if self.admitted is not None:
                self.route_name = self.admitted.route.name
                self._room = self.admitted.max_body_bytes

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Keep an admitted body within its limit; drop the rest."""
        if self.admitted is None or self.refused is not None:
            return
        self._room -= len(data)
        if self._room < 0:
            self.refused = TooLargeError(f"The request body exceeds {self.admitted.max_body_bytes} bytes.")
            self._refuse_now(self.refused)
            return
        super().handleContentChunk(data)

    def process(self) -> None:
        """Answer a refused request here, hand every other one to its door."""
        if self._answered_early:  # the rest of its body came with what was too much
            return
        self._common_headers()
        if self.refused is not None:
            send(self, error_reply(self.refused))
            self.finish()
            return
        if self._preflight is not None:
            send(self, Reply(status=HTTPStatus.NO_CONTENT, body=b"", headers=self._preflight))
            self.finish()
            return
        channel = self.channel
        super().process()
        if channel.transport is None:  # a WebSocket has taken the connection over
            channel.site.closed(channel)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """Count an answer that the client did not wait for."""
        if self.startedWriting and not self.finished:
            self.channel.site.log(self)
        super().connectionLost(reason)

    def _head(self, length: int | None) -> Head:
        channel = self.channel
        return Head(
            method=channel._command,  # noqa: SLF001 - Twisted sets the request's own copies only later
            path=channel._path,  # noqa: SLF001
            version=channel._version,  # noqa: SLF001
            headers=self.requestHeaders,
            peer=getattr(self.getClientAddress(), "host", ""),
            length=length,
            tls=ISSLTransport.providedBy(channel.transport),
        )

    def _common_headers(self) -> None:
        given = (self.requestHeaders.getRawHeaders(b"x-request-id") or [b""])[-1]
        request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        self.setHeader(b"x-request-id", request_id)
        for headers in (self.channel.site.common_headers, self._cross_origin):
            for name, value in headers.items():
                self.setHeader(name, value)

    def _refuse_now(self, error: GatewayError) -> None:
        self._answered_early = True
        self._common_headers()
        headers = {
            name.decode(): values[-1].decode() for name, values in self.responseHeaders.getAllRawHeaders()
        }
        self.channel.answer_and_close(error_reply(error), headers, self.route_name)


class GatewayChannel(HTTPChannel):
    """A client connection that can be answered and closed in the middle of a request."""

    site: GatewaySite
    transport: Any
    _lingering: IDelayedCall | None = None
    _lingered_bytes = 0

    def connectionMade(self) -> None:  # noqa: N802
        """Take a connection."""
        self.site.opened(self)
        super().connectionMade()

    def answer_and_close(self, reply: Reply, headers: Mapping[str, str], route_name: str) -> None:
        """Send `reply`, stop sending, and read past what is still on its way for a moment."""
        transport: Any = self.transport
        transport.write(raw_reply(reply, headers))
        self.site.observe(route_name, reply.status)
        if hasattr(transport, "loseWriteConnection"):  # TLS cannot be closed by halves
            transport.loseWriteConnection()
            self._lingering = self.site.clock.callLater(LINGER_SECONDS, transport.abortConnection)
        else:
            transport.loseConnection()
        self.setTimeout(None)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the client; after a refusal, drop them."""
        if self._lingering is None:
            super().dataReceived(data)
            return
        self._lingered_bytes += len(data)
        if self._lingered_bytes > MAX_LINGER_BYTES:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Forget the connection."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        self.site.closed(self)
        super().connectionLost(reason)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Take a line of the head; none after a refusal, though some may have come with it."""
        if self._lingering is not None:
            return
        if not self._receivedHeaderSize and len(line) > self.site.limits.max_request_line_bytes:
            self._refuse_head(HeadersTooLargeError("The request line is too long."))
            return
        super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take a piece of the body; none after a refusal."""
        if self._lingering is None:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Say that a line of the head is too long, where Twisted would just hang up."""
        self._refuse_head(HeadersTooLargeError("A line of the request's head is too long."))

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse_head(HeadersTooLargeError("The request's headers are too many or too large."))
        else:
            self._refuse_head(InvalidRequestError("This is not a well-formed HTTP request."))

    def _refuse_head(self, error: GatewayError) -> None:
        told = {name.decode(): value.decode() for name, value in self.site.common_headers.items()}
        self.answer_and_close(error_reply(error), told, NO_ROUTE)

    def _send100Continue(self) -> None:  # noqa: N802
        if self._lingering is None:
            super()._send100Continue()


class _Root(Resource):
    """The only dispatcher: it looks at the Upgrade header and nothing else."""

    isLeaf = False  # noqa: N815 - Twisted's name

    def __init__(self, http: IResource, websocket: IResource) -> None:
        super().__init__()
        self._http = http
        self._websocket = websocket

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:  # noqa: N802
        """Return the door for this request."""
        request.setHeader(b"server", SERVER)  # Twisted has just put its own name and version there
        if is_upgrade(request):
            request.postpath = []
            return self._websocket
        assert request.postpath is not None  # Twisted has split the path before it dispatches
        assert request.prepath is not None
        request.postpath.insert(0, request.prepath.pop())
        return self._http


class GatewaySite(Site):
    """What listens on the port.

    `websockets` counts the connections that have become WebSockets; `observe` hears of each answer: its
    route's name, its status.
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
    ) -> None:
        self.observe = observe
        self._websockets = websockets
        self.limits = settings.limits
        super().__init__(
            _Root(http, websocket),
            GatewayRequest,
            parsePOSTFormSubmission=False,
            timeout=self.limits.connection_idle_seconds,
            reactor=clock,
        )
        self.admission = admission
        self.clock = clock
        self.common_headers = dict(_COMMON_HEADERS)
        if hsts := settings.http.security_headers.strict_transport_security:
            self.common_headers[b"strict-transport-security"] = hsts.encode("latin-1")
        self._channels: set[GatewayChannel] = set()
        self._empty: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 - Twisted's name
        """Take a connection, or close it at once when too many are open."""
        if len(self._channels) + self._websockets() >= self.limits.max_connections:
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
