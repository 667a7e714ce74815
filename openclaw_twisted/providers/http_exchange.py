"""HTTP/1.1 from the client's side: one connection, one exchange at a time on it.

    idle --ask--> waiting --head--> answering --end of message--> idle, or closed
                     |                  |
                     '------------------'--- lost, not HTTP, cancelled: closed, and who waits is told

llhttp (through httptools) reads the answer; what one read of the socket brings of a body reaches its protocol
with one call. A connection is used again only when the answer allows it and nothing followed its end; bytes
that come when nothing was asked close it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httptools
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from openclaw_twisted.sending import send_now

__all__ = ["BadResponseError", "Exchange", "HttpRequest", "HttpResponse", "Origin"]

MAX_HEAD_BYTES = 64 * 1024
# What one read brings has to be kept, raw and parsed, while its reader is slow.
READ_BYTES = 16 * 1024
FIRST_FINAL_STATUS = 200

_URI = re.compile(rb"[\x21-\x7e]+")

Origin = tuple[bytes, bytes]
"""A scheme, and the host with its port as the URL has them."""


class BadResponseError(Exception):
    """What the server sent is no HTTP response."""


@implementer(IClientRequest)
class HttpRequest:
    """What is asked; raises `ValueError` for a URI with characters that would break the request line."""

    def __init__(self, method: bytes, uri: bytes, headers: Headers, body: IBodyProducer | None) -> None:
        if not _URI.fullmatch(uri):
            raise ValueError(f"not a URI: {uri!r}")
        scheme, _, rest = uri.partition(b"#")[0].partition(b"://")
        netloc, slash, path = rest.partition(b"/")
        self.method = method
        self.headers = headers
        self.origin: Origin = (scheme, netloc)
        self._uri = uri
        self._target = slash + path or b"/"
        self._body = body

    @property
    def absoluteURI(self) -> bytes:  # noqa: N802 - the interface's name
        """The whole URL."""
        return self._uri

    def whole(self) -> bytes:
        """Return the head with the body, which has to be one that is produced at once."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self._target)]
        if not self.headers.hasHeader(b"host"):
            lines.append(b"Host: " + self.origin[1].rpartition(b"@")[2])
        lines += [
            b"%b: %b" % (name, value) for name, values in self.headers.getAllRawHeaders() for value in values
        ]
        pieces: list[bytes] = []
        if self._body is not None:
            producing = self._body.startProducing(_Pieces(pieces))
            assert producing.called, "only bodies that are in memory are sent here"
            lines.append(b"Content-Length: %d" % sum(map(len, pieces)))
        return b"".join([b"\r\n".join([*lines, b"", b""]), *pieces])


class _Pieces:
    """Takes a body that is produced at once."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.write = pieces.append

    def registerProducer(self, producer: object, streaming: bool) -> None: ...  # noqa: N802

    def unregisterProducer(self) -> None: ...  # noqa: N802


@implementer(IResponse, IPushProducer)
class HttpResponse:
    """An answer whose head is here; towards the protocol that takes the body it is the body's transport."""

    previousResponse: Any = None  # noqa: N815 - the interface's name

    def __init__(self, exchange: Exchange, request: HttpRequest, code: int, phrase: bytes) -> None:
        self.request = request
        self.version = (b"HTTP", 1, 1)
        self.code = code
        self.phrase = phrase
        self.headers = exchange.headers
        length = self.headers.getRawHeaders(b"content-length")
        self.length: Any = int(length[-1]) if length else UNKNOWN_LENGTH
        self._exchange: Exchange | None = exchange
        self._protocol: Any = None
        self._early: list[bytes] = []
        self._ended: Failure | None = None

    def deliverBody(self, protocol: IProtocol) -> None:  # noqa: N802
        """Give `protocol` what has come of the body and all that will."""
        self._protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]  # Twisted's own responses do it like this
        early, self._early = self._early, []
        if early:
            protocol.dataReceived(b"".join(early))
        if self._ended is not None:
            protocol.connectionLost(self._ended)
        elif self._exchange is not None:
            self._exchange.flow()

    def setPreviousResponse(self, response: IResponse) -> None:  # noqa: N802
        """Remember which redirect led here."""
        self.previousResponse = response

    def take(self, data: bytes) -> None:
        """Pass a piece of the body on; one that nobody asked for yet waits, and stops the reading."""
        if self._protocol is not None:
            self._protocol.dataReceived(data)
            return
        self._early.append(data)
        self.pauseProducing()

    def end(self, reason: Failure) -> None:
        """Tell the body's protocol that this was all, and why."""
        self._exchange = None
        self._ended = reason
        if self._protocol is not None:
            self._protocol.connectionLost(reason)

    def pauseProducing(self) -> None:  # noqa: N802
        """Stop reading the answer."""
        if self._exchange is not None:
            self._exchange.hold()

    def resumeProducing(self) -> None:  # noqa: N802
        """Go on reading."""
        if self._exchange is not None:
            self._exchange.flow()

    def stopProducing(self) -> None:  # noqa: N802
        """Close the connection now: nobody wants the rest."""
        if self._exchange is not None:
            self._exchange.abort()

    loseConnection = abortConnection = stopProducing  # noqa: N815


@implementer(IHandshakeListener)
class Exchange(Protocol):
    """One connection: `reusable` hears each time when it is idle again, `gone` when it is closed."""

    transport: Any
    idle_since = 0.0

    def __init__(
        self,
        origin: Origin,
        *,
        reusable: Callable[[Exchange], object],
        gone: Callable[[Exchange], object],
    ) -> None:
        self.origin = origin
        self.headers = Headers()
        self._reusable = reusable
        self._gone = gone
        self._parser = httptools.HttpResponseParser(self)
        self._request: HttpRequest | None = None
        self._waiter: Deferred[IResponse] | None = None
        self._securing: Deferred[Exchange] | None = None
        self._secure = False
        self._response: HttpResponse | None = None
        self._phrase = b""
        self._parts: list[bytes] = []
        self._head_bytes = 0
        self._head_done = self._message_done = self._too_much = self._held = False

    def connectionMade(self) -> None:  # noqa: N802
        """Take the connection."""
        self.transport.bufferSize = READ_BYTES

    def secured(self) -> Deferred[Exchange]:
        """Wait for the end of the TLS handshake; cancelling closes the connection."""
        if self._secure:
            return succeed(self)
        self._securing = Deferred(self._not_secured)
        return self._securing

    def handshakeCompleted(self) -> None:  # noqa: N802
        """Note that TLS stands."""
        self._secure = True
        securing, self._securing = self._securing, None
        if securing is not None:
            securing.callback(self)

    def ask(self, request: HttpRequest) -> Deferred[IResponse]:
        """Send a request; fires with the response when its head is here, cancelling closes the connection.

        Fails with `ResponseNeverReceived` when nothing of an answer came, else `ResponseFailed`.
        """
        self._request = request
        self._head_bytes = 0
        self._head_done = self._message_done = self._too_much = False
        waiter: Deferred[IResponse] = Deferred(self._given_up)
        self._waiter = waiter
        send_now(self.transport, request.whole())
        return waiter

    def hold(self) -> None:
        """Stop reading."""
        if not self._held:
            self._held = True
            self.transport.pauseProducing()

    def flow(self) -> None:
        """Go on reading."""
        if self._held:
            self._held = False
            self.transport.resumeProducing()

    def abort(self) -> None:
        """Close the connection now."""
        self._message_done = False
        self.transport.abortConnection()

    def retire(self) -> None:
        """Close a connection that is idle."""
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take what one read brought."""
        if self._request is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break_off(BadResponseError(str(error)))
            return
        if not self._head_done:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._break_off(BadResponseError("its head is too long"))
            return
        self._pass_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell who waits that nothing more will come."""
        waiter, response, securing = self._waiter, self._response, self._securing
        self._request = self._waiter = self._response = self._securing = None
        if securing is not None:
            securing.errback(ResponseNeverReceived([reason]))
        elif waiter is not None:
            kind = ResponseFailed if self._head_bytes else ResponseNeverReceived
            waiter.errback(kind([reason]))
        elif response is not None:
            # Without a length and without chunks the end of the connection is the end of the body.
            whole = reason.check(ConnectionDone) and self._ends_with_connection(response)
            response.end(Failure(PotentialDataLoss() if whole else ResponseFailed([reason])))
        # Last: whoever waits for all to be gone may then cancel those who wait for an answer.
        self._gone(self)

    # What the parser says, in the order in which it reads.

    def on_message_begin(self) -> None:
        """Note that a message begins: one after the end of the answer is too much."""
        if self._message_done:
            self._too_much = True
        self.headers = Headers()

    def on_status(self, phrase: bytes) -> None:
        """Take the reason phrase."""
        self._phrase = phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nobody here wants."""
        if not self._head_done:
            self.headers.addRawHeader(name, value)

    def on_headers_complete(self) -> None:
        """Note the end of the head, unless it only said that more is to come (1xx)."""
        if not self._too_much and self._parser.get_status_code() >= FIRST_FINAL_STATUS:
            self._head_done = True
            self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if not self._too_much:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        if self._head_done and not self._message_done:
            self._message_done = True
            self._lasting = self._parser.should_keep_alive()

    def _pass_on(self) -> None:
        if self._response is None:
            request, waiter = self._request, self._waiter
            assert request is not None
            assert waiter is not None
            self._waiter = None
            self._response = HttpResponse(self, request, self._status, self._phrase)
            waiter.callback(self._response)
        parts, self._parts = self._parts, []
        if parts:
            self._response.take(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._message_done:
            self._finish(self._response)

    def _finish(self, response: HttpResponse) -> None:
        lasting = self._lasting and not self._too_much
        self._request = self._response = None
        self.flow()
        if lasting:
            self._reusable(self)
        else:
            self.transport.loseConnection()
        response.end(Failure(ResponseDone()))

    def _not_secured(self, _securing: Deferred[Exchange]) -> None:
        self._securing = None
        self.abort()

    def _given_up(self, _waiter: Deferred[IResponse]) -> None:
        self._waiter = None
        self.abort()

    def _break_off(self, error: BadResponseError) -> None:
        waiter, response = self._waiter, self._response
        self._request = self._waiter = self._response = None
        self.abort()
        if waiter is not None:
            waiter.errback(ResponseFailed([Failure(error)]))
        elif response is not None:
            response.end(Failure(ResponseFailed([Failure(error)])))

    def _ends_with_connection(self, response: HttpResponse) -> bool:
        return response.length is UNKNOWN_LENGTH and not response.headers.hasHeader(b"transfer-encoding")
