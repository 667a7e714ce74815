"""A client connection: how a head is read, how long it may take, and how a refusal gets through.

A refused caller's body is never kept: a short one is read past and answered on the same connection; a long
one gets its answer at once, and the connection is closed as soon as the client had a chance to read it.
(Closing while bytes arrive makes the kernel reset the connection, which can destroy the answer on its way.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.errors import (
    GatewayError,
    HeadersTooLargeError,
    InvalidRequestError,
    RequestTimeoutError,
)
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.endpoint import Reply, error_reply, raw_reply
from openclaw_twisted.http.head import MAX_LENGTH_DIGITS, plain_fields
from openclaw_twisted.http.patience import Alarm, Patience, Waiting
from openclaw_twisted.http.request import NO_ROUTE
from openclaw_twisted.ordered_id import new_digits
from openclaw_twisted.sending import send_now

__all__ = ["Door", "GatewayChannel"]

LINGER_SECONDS = 2.0
MAX_LINGER_BYTES = 4 * 1024 * 1024


class Door(Protocol):
    """What a connection needs from what listens on the port."""

    @property
    def admission(self) -> Admission:
        """Who gets in."""
        ...

    @property
    def clock(self) -> IReactorTime:
        """Time and timers."""
        ...

    @property
    def common_headers(self) -> Mapping[bytes, bytes]:
        """The headers of every answer, their names as Twisted's `Headers` spell them."""
        ...

    @property
    def limits(self) -> LimitsSettings:
        """What one client may take up."""
        ...

    @property
    def observe(self) -> Callable[[str, int], object]:
        """What hears of an answer: its route's name, its status."""
        ...

    @property
    def dropped(self) -> Callable[[str], object]:
        """What hears why a connection was not kept."""
        ...

    @property
    def http(self) -> IResource:
        """What answers admitted requests."""
        ...

    def log(self, request: HTTPRequest) -> None:
        """Count the answer of a request that has come to its end."""
        ...

    def opened(self, channel: GatewayChannel) -> None:
        """Count a connection."""
        ...

    def closed(self, channel: GatewayChannel) -> None:
        """Stop counting a connection."""
        ...


class GatewayChannel(HTTPChannel):
    """A client connection that can be answered and closed in the middle of a request."""

    site: Door
    transport: Any
    _alarm: Alarm
    _patience: Patience
    _head = b""
    _lingering: IDelayedCall | None = None
    _lingered_bytes = 0

    def connectionMade(self) -> None:  # noqa: N802
        """Take a connection."""
        self.site.opened(self)
        self._peer: IAddress = self.transport.getPeer()
        self._host: IAddress = self.transport.getHost()
        self.tls: bool = ISSLTransport.providedBy(self.transport)
        self._patience = Patience(self.site.limits, self.site.clock.seconds)
        self._alarm = Alarm(self.site.clock, self.timeoutConnection)
        super().connectionMade()
        self.setTimeout(self._patience.left(Waiting.HEAD))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:  # noqa: N802
        """Keep the head back until the first piece of the body, so that both leave in one packet."""
        common = self.site.common_headers
        lines = [b"%b %b %b" % (version, code, reason)]
        lines += [
            b"%b: %b" % (name, value)
            for name, values in headers.getAllRawHeaders()
            if name not in common
            for value in values
        ]
        lines += [b"%b: %b" % field for field in common.items()]
        self._head = b"\r\n".join([*lines, b"", b""])

    def write(self, data: bytes) -> None:
        """Send a piece of an answer."""
        head, self._head = self._head, b""
        send_now(self.transport, head + data if head else data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:  # noqa: N802
        """Send a piece of an answer."""
        self.write(b"".join(iovec))

    def answer_and_close(self, reply: Reply, headers: Mapping[str, str], route_name: str) -> None:
        """Send `reply`, stop sending, and read past what is still on its way for a moment."""
        self._last_words(reply, headers, route_name)
        if self.tls:  # cannot be closed by halves
            self.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def drop(self, reason: str) -> None:
        """Abort the connection, whatever is still unsent; `reason` is what this is counted under."""
        self.site.dropped(reason)
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the client; after a refusal, drop them."""
        if self._lingering is None:
            super().dataReceived(data)
            self._wait_on()
            return
        self._lingered_bytes += len(data)
        if self._lingered_bytes > MAX_LINGER_BYTES:
            self.transport.abortConnection()

    def requestDone(self, request: HTTPRequest) -> None:  # noqa: N802
        """Go on to the next request, of which some may be here already."""
        if self._head:  # an answer without a body
            self.write(b"")
        self._patience.left(Waiting.NEXT_REQUEST)
        if self._waitingForTransport and self.persistent:
            # Twisted would go on: it only stops reading when it hears between two requests that nothing more
            # can be sent. Whoever asks and asks and reads no answer would fill our memory with them.
            self.paused = True
            self._networkProducer.pauseProducing()
        super().requestDone(request)
        self._wait_on()

    def resumeProducing(self) -> None:  # noqa: N802
        """Go on sending, and with the requests that have waited for their turn meanwhile."""
        super().resumeProducing()
        if self.paused:
            self.paused = False
            self.dataReceived(b"")

    def getPeer(self) -> IAddress:  # noqa: N802
        """Return the client's address, which does not change; Twisted asks with each request."""
        return self._peer

    def getHost(self) -> IAddress:  # noqa: N802
        """Return our own address."""
        return self._host

    def setTimeout(self, period: Any) -> Any:  # noqa: N802
        """Give the client so many seconds from now, None for ever; return what it had before."""
        before, self.timeOut = self.timeOut, period
        self._alarm.set(period)
        return before

    def resetTimeout(self) -> None:  # noqa: N802
        """Let the client's time begin anew."""
        if self._alarm.is_set:
            self._alarm.set(self.timeOut)

    def timeoutConnection(self) -> None:  # noqa: N802
        """Close a connection whose client takes too long; one that has begun to say something hears why."""
        limits, waiting = self.site.limits, self._patience.waiting
        if waiting is Waiting.BODY:
            self.site.dropped("slow_body")
            request = self.requests[-1]
            late = RequestTimeoutError(
                f"The body took longer than {limits.body_deadline_seconds:g} s in all, "
                f"or {limits.body_idle_seconds:g} s without a byte. Send it faster."
            )
            request.refuse_now(request.refused or late)
        elif waiting is Waiting.HEAD:
            self.site.dropped("slow_head")
            self._close_slow_head(
                RequestTimeoutError(
                    f"The headers took longer than {limits.header_deadline_seconds:g} s. Send them faster."
                )
            )
        else:
            self._close_for_good()

    def _wait_on(self) -> None:
        """Give the client the time it has for what it is in the middle of."""
        if self._lingering is not None or self.transport is None:
            return  # on its way out, or a WebSocket
        if self._handlingRequest:
            self._patience.left(Waiting.NOTHING)  # Twisted has stopped its clock
        elif not self.line_mode:
            self.setTimeout(self._patience.left(Waiting.BODY))
        elif self.paused:  # what is here of the next request waits for us
            self.setTimeout(self._patience.left(Waiting.NEXT_REQUEST))
        elif self.requests or self._buffer:
            self.setTimeout(self._patience.left(Waiting.HEAD))
        elif self._patience.waiting is not Waiting.HEAD:  # a stray line end is no head yet
            self.setTimeout(self._patience.left(Waiting.NEXT_REQUEST))

    def _close_slow_head(self, error: GatewayError) -> None:
        if not (self.requests or self._buffer):
            self._close_for_good()  # nothing was asked, and nothing is answered
            return
        # A client this slow sends nothing that could destroy the answer, so there is no lingering.
        self._last_words(error_reply(error), self._told(), NO_ROUTE)
        self.loseConnection()

    def _close_for_good(self) -> None:
        self._leave_within(LINGER_SECONDS)
        self.loseConnection()

    def _last_words(self, reply: Reply, headers: Mapping[str, str], route_name: str) -> None:
        self.transport.write(raw_reply(reply, headers))
        self.site.observe(route_name, reply.status)
        self._leave_within(LINGER_SECONDS)

    def _leave_within(self, seconds: float) -> None:
        self._lingering = self.site.clock.callLater(seconds, self.transport.abortConnection)
        self.setTimeout(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Forget the connection."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        self.forget()
        super().connectionLost(reason)

    def forget(self) -> None:
        """Stop counting the connection and its time: it is lost, or no longer HTTP's."""
        self._alarm.stop()
        self.site.closed(self)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Take a line of the head; none after a refusal, though some may have come with it."""
        if self._lingering is not None:
            return
        if not self._receivedHeaderSize and len(line) > self.site.limits.max_request_line_bytes:
            self._refuse_head(HeadersTooLargeError("The request line is too long."))
            return
        begins = line and not self._receivedHeaderSize
        super().lineReceived(line)
        if begins and self.requests and self._lingering is None and not self.transport.disconnecting:
            self._take_fields(self.requests[-1])

    def _take_fields(self, request: HTTPRequest) -> None:
        """Take what is left of a head but its last, empty line, if it is here and plain."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        size = self._receivedHeaderSize + len(head)
        fields = plain_fields(head, self.maxHeaders) if end and size <= self.totalHeadersSize else None
        if fields is None:
            return
        for length in fields.getRawHeaders(b"content-length") or ():
            self._maybeChooseTransferDecoder(b"Content-Length", length)
        request.requestHeaders = fields
        self._receivedHeaderSize = size
        self._receivedHeaderCount = head.count(b"\n") + 1
        self._buffer = b"\r\n" + rest

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take a piece of the body; none after a refusal."""
        if self._lingering is None:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Say that a line of the head is too long, where Twisted would just hang up."""
        self._refuse_head(HeadersTooLargeError("A line of the request's head is too long."))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:  # noqa: N802
        if header == b"Content-Length" and len(data) > MAX_LENGTH_DIGITS:
            data = b"beyond counting"  # no number at all, which Twisted refuses
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse_head(HeadersTooLargeError("The request's headers are too many or too large."))
        else:
            self._refuse_head(InvalidRequestError("This is not a well-formed HTTP request."))

    def _refuse_head(self, error: GatewayError) -> None:
        self.answer_and_close(error_reply(error), self._told(), NO_ROUTE)

    def _told(self) -> dict[str, str]:
        """Return the headers of every answer, for one to a head that could not be read to its end."""
        common = {name.decode(): value.decode() for name, value in self.site.common_headers.items()}
        return {"x-request-id": new_digits(), **common}

    def _send100Continue(self) -> None:  # noqa: N802
        if self._lingering is None:
            super()._send100Continue()
