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
import socket
from collections.abc import Callable, Mapping
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
from zope.interface import implementer

from openclaw_twisted.sending import send_now

__all__ = ["ACKNOWLEDGED_SECONDS", "BadResponseError", "Exchange", "HttpResponse", "Origin", "RequestHead"]

MAX_HEAD_BYTES = 64 * 1024
# What one read brings has to be kept, raw and parsed, while its reader is slow.
READ_BYTES = 16 * 1024
FIRST_FINAL_STATUS = 200

# A way may break while nothing goes over it (a laptop that slept, another network), and nobody tells. What is
# sent next is never acknowledged, and would be waited for as long as an answer may take.
ACKNOWLEDGED_SECONDS = 10

_URI = re.compile(rb"[\x21-\x7e]+")
_DONE = Failure(ResponseDone())

Origin = tuple[bytes, bytes]
"""A scheme, and the host with its port as the URL has them."""


class BadResponseError(Exception):
    """What the server sent is no HTTP response."""


class RequestHead:
    """All of a request but its body, encoded once for as many requests as are sent with it.

    Raises `ValueError` for a URI with characters that would break the request line.
    """

    __slots__ = ("_lines", "origin", "uri")

    def __init__(self, method: bytes, uri: bytes, headers: Headers) -> None:
        if not _URI.fullmatch(uri):
            raise ValueError(f"not a URI: {uri!r}")
        scheme, _, rest = uri.partition(b"#")[0].partition(b"://")
        netloc, slash, path = rest.partition(b"/")
        self.uri = uri
        self.origin: Origin = (scheme, netloc)
        lines = [b"%b %b HTTP/1.1" % (method, slash + path or b"/")]
        if not headers.hasHeader(b"host"):
            lines.append(b"Host: " + netloc.rpartition(b"@")[2])
        for name, values in headers.getAllRawHeaders():
            lines += [b"%b: %b" % (name, value) for value in values]
        self._lines = b"\r\n".join(lines)

    def with_body(self, body: bytes) -> bytes:
        """Return the whole request."""
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (self._lines, len(body), body)


@implementer(IPushProducer)
class HttpResponse:
    """An answer whose head is here; towards the protocol that takes the body it is the body's transport.

    `take` passes a piece of the body on; those that come before anybody wants them are kept.
    """

    __slots__ = ("_ended", "_exchange", "_fields", "_kept", "_protocol", "status", "take")

    def __init__(self, exchange: Exchange, status: int, fields: Mapping[bytes, bytes], begins: bytes) -> None:
        self.status = status
        self._fields = fields
        self._exchange: Exchange | None = exchange
        self._kept = [begins] if begins else []
        self._protocol: Any = None
        self._ended: Failure | None = None
        self.take: Callable[[bytes], object] = self._kept.append

    def header(self, name: bytes) -> str | None:
        """Return the last value of a header, by its name in lower case, or None."""
        value = self._fields.get(name)
        return None if value is None else value.decode("latin-1")

    def deliverBody(self, protocol: IProtocol) -> None:  # noqa: N802 - as Twisted's responses have it
        """Give `protocol` what has come of the body and all that will."""
        self._protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]  # Twisted's own responses do it like this
        kept, self._kept = self._kept, []
        self.take = protocol.dataReceived
        if kept:
            protocol.dataReceived(b"".join(kept))
        if self._ended is not None:
            protocol.connectionLost(self._ended)
        elif self._exchange is not None:
            self._exchange.flow()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody takes the body."""
        return self._protocol is not None

    def end(self, reason: Failure) -> None:
        """Tell the body's protocol that this was all, and why."""
        self._exchange = None
        self._ended = reason
        if self._protocol is not None:
            self._protocol.connectionLost(reason)

    def ends_with_connection(self) -> bool:
        """Tell whether the end of the connection is the end of the body: it has no other."""
        return not (b"content-length" in self._fields or b"transfer-encoding" in self._fields)

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
        self._reusable = reusable
        self._gone = gone
        # The parser calls these two for each header and each piece: C from C, with no step of Python between.
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.__setitem__
        self._parts: list[bytes] = []
        self.on_body = self._parts.append
        self._head: Mapping[bytes, bytes] = {}
        self._parser = httptools.HttpResponseParser(self)
        self._asked = False
        self._waiter: Deferred[HttpResponse] | None = None
        self._securing: Deferred[Exchange] | None = None
        self._secure = False
        self._response: HttpResponse | None = None
        self._head_bytes = 0
        self._head_done = self._message_done = self._held = self._kept = False

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

    def ask(self, request: bytes) -> Deferred[HttpResponse]:
        """Send a request; fires with the response when its head is here, cancelling closes the connection.

        Fails with `ResponseNeverReceived` when nothing of an answer came, else `ResponseFailed`.
        """
        self._asked = True
        self._head_bytes = 0
        self._head_done = self._message_done = False
        waiter: Deferred[HttpResponse] = Deferred(self._given_up)
        self._waiter = waiter
        send_now(self.transport, request)
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
        if not self._asked:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._message_done:
                self._break_off(BadResponseError(str(error)))
                return
            self._lasting = False  # something followed the answer, which is whole
        if self._head_done:
            self._pass_on()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._break_off(BadResponseError("its head is too long"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell who waits that nothing more will come."""
        waiter, response, securing = self._waiter, self._response, self._securing
        self._asked = False
        self._waiter = self._response = self._securing = None
        if securing is not None:
            securing.errback(ResponseNeverReceived([reason]))
        elif waiter is not None:
            kind = ResponseFailed if self._head_bytes else ResponseNeverReceived
            waiter.errback(kind([reason]))
        elif response is not None:
            whole = reason.check(ConnectionDone) and response.ends_with_connection()
            response.end(Failure(PotentialDataLoss() if whole else ResponseFailed([reason])))
        # Last: whoever waits for all to be gone may then cancel those who wait for an answer.
        self._gone(self)

    # What the parser says, in the order in which it reads.

    def on_message_begin(self) -> None:
        """Note that a message begins; one after the end of the answer is too much."""
        if self._message_done:
            raise BadResponseError("something follows the answer")

    def on_headers_complete(self) -> None:
        """Note the end of the head, unless it only said that more is to come (1xx)."""
        self._status = self._parser.get_status_code()
        self._head_done = self._status >= FIRST_FINAL_STATUS
        self._head = {name.lower(): value for name, value in self._fields.items()}
        self._fields.clear()

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        if self._head_done:
            self._message_done = True
            self._lasting = self._parser.should_keep_alive()

    def _pass_on(self) -> None:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if self._fields:
            self._fields.clear()  # trailers, which nobody here wants
        response = self._response
        if response is None:
            self._begin(data)
            return
        if data:
            response.take(data)
        if self._message_done:
            self._finish(response)

    def _begin(self, data: bytes) -> None:
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        response = self._response = HttpResponse(self, self._status, self._head, data)
        if self._message_done:
            self._finish(response)
            waiter.callback(response)
            return
        waiter.callback(response)
        if not response.is_wanted:
            response.pauseProducing()

    def _finish(self, response: HttpResponse) -> None:
        self._asked = False
        self._response = None
        self.flow()
        if self._lasting:
            if not self._kept:
                self._kept = True
                _expect_acknowledgements(self.transport)
            self._reusable(self)
        else:
            self.transport.loseConnection()
        response.end(_DONE)

    def _not_secured(self, _securing: Deferred[Exchange]) -> None:
        self._securing = None
        self.abort()

    def _given_up(self, _waiter: Deferred[HttpResponse]) -> None:
        self._waiter = None
        self.abort()

    def _break_off(self, error: Exception) -> None:
        waiter, response = self._waiter, self._response
        self._asked = False
        self._waiter = self._response = None
        self.abort()
        if waiter is not None:
            waiter.errback(ResponseFailed([Failure(error)]))
        elif response is not None:
            response.end(Failure(ResponseFailed([Failure(error)])))


def _expect_acknowledgements(transport: Any) -> None:
    """Have a connection lost when what is sent on it is not acknowledged in time; Linux can do that."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and isinstance(connection := getattr(transport, "socket", None), socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, option, ACKNOWLEDGED_SECONDS * 1000)
