"""A request, from its head to the endpoint that answers it.

Twisted knows a request when its head is complete (`gotLength`), reads the body, and then dispatches it
(`process`). Admission sits in the first hook, so a refused caller's body is never kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.http import datetimeToString
from twisted.web.server import Request, Site

from openclaw_twisted.errors import GatewayError, TooLargeError
from openclaw_twisted.http.admission import MAX_DISCARDED_BYTES, Admission, Admitted, Head
from openclaw_twisted.http.endpoint import Reply, error_reply, send
from openclaw_twisted.ordered_id import new_digits
from openclaw_twisted.sending import send_now

if TYPE_CHECKING:
    from openclaw_twisted.http.connection import GatewayChannel

__all__ = ["NO_ROUTE", "GatewayRequest"]

NO_ROUTE = "none"
WEBSOCKET = "websocket"
"""What answers are counted under when no route was matched, and when a WebSocket was refused."""

_SANE_ID = re.compile(rb"[\w.:-]{1,128}")


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """Return a time as answers tell it; many are given in a second."""
    date: bytes = datetimeToString(second)
    return date


def _is_upgrade(request: Request) -> bool:
    """Tell whether a request asks for a WebSocket; other upgrades (h2c) are ignored, as HTTP allows."""
    asked = request.requestHeaders.getRawHeaders(b"upgrade")
    return asked is not None and any(protocol.strip().lower() == b"websocket" for protocol in asked)


class GatewayRequest(Request):
    """A request that is admitted or refused before its body arrives."""

    channel: GatewayChannel
    admitted: Admitted | None = None
    _admitted_by: tuple[Admission, Head] | None = None
    refused: GatewayError | None = None
    route_name = NO_ROUTE
    _answered_early = False
    _preflight: Mapping[str, str] | None = None
    _cross_origin: Mapping[bytes, bytes] = MappingProxyType({})

    def parseCookies(self) -> None:  # noqa: N802
        """Leave cookies alone: nobody here asks for one."""

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Decide on the head alone."""
        # The base class would spill large bodies to a file, which blocks.
        self.content = BytesIO()
        self._room = 0
        if _is_upgrade(self):
            self.route_name = WEBSOCKET
            return
        admission = self.channel.site.admission
        head = self._head(length)
        self._cross_origin = admission.cross_origin(self.requestHeaders)
        try:
            self._preflight = admission.preflight(head)
            if self._preflight is None:
                self.admitted = admission.admit(head)
                self._admitted_by = admission, head
        except GatewayError as error:
            self.refused = error
            self.route_name = admission.route_name(head) or NO_ROUTE
            if length is None or length > MAX_DISCARDED_BYTES or self.requestHeaders.hasHeader(b"expect"):
                self.refuse_now(error)
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
            self.refuse_now(self.refused)
            return
        super().handleContentChunk(data)

    def process(self) -> None:
        """Answer a refused request here, hand every other one to its door."""
        if self._answered_early:  # the rest of its body came with what was too much
            return
        if self._admitted_by is not None:
            self._admit_again(*self._admitted_by)
        self._first_headers()
        if self.refused is not None:
            send(self, error_reply(self.refused))
            self.finish()
            return
        if self._preflight is not None:
            send(self, Reply(status=HTTPStatus.NO_CONTENT, body=b"", headers=self._preflight))
            self.finish()
            return
        channel = self.channel
        if self.admitted is not None:
            self.site = cast("Site", channel.site)
            self.render(channel.site.http)
            return
        super().process()
        if channel.transport is None:  # a WebSocket has taken the connection over
            channel.forget()

    def write(self, data: bytes) -> None:
        """Send a piece of the answer."""
        # Not `Request.write` of `twisted.web.server`: it looks after answers that do not say their type.
        HTTPRequest.write(self, data)

    def in_pieces(self) -> Callable[[bytes], object]:
        """Return what sends the rest of an answer, for as long as the client is there.

        What Twisted asks at each `write` is settled by the first, if there was one. All it looks at for that
        lies here and there in memory, which with many streams costs more than the asking.
        """
        if not self.chunked:
            return self.write
        transport = self.channel.transport
        return lambda data: send_now(transport, b"%x\r\n%b\r\n" % (len(data), data))

    def refuse_now(self, error: GatewayError) -> None:
        """Answer before the body is whole, and close the connection."""
        self._answered_early = True
        self._first_headers()
        headers = {
            name.decode(): values[-1].decode() for name, values in self.responseHeaders.getAllRawHeaders()
        }
        headers |= {name.decode(): value.decode() for name, value in self.channel.site.common_headers.items()}
        self.channel.answer_and_close(error_reply(error), headers, self.route_name)

    def drop(self, reason: str) -> None:
        """Abort the connection, whatever is still unsent; `reason` is what this is counted under."""
        self.channel.drop(reason)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """Count an answer that the client did not wait for."""
        if self.startedWriting and not self.finished:
            self.channel.site.log(self)
        super().connectionLost(reason)

    def _admit_again(self, before: Admission, head: Head) -> None:
        """Judge by the settings that came while the body did: its caller may have lost the right to it."""
        admission = self.channel.site.admission
        if admission is before:
            return
        try:
            self.admitted = admission.admit(head)
        except GatewayError as error:
            self.refused = error

    def _head(self, length: int | None) -> Head:
        channel = self.channel
        return Head(
            method=channel._command,  # noqa: SLF001 - Twisted sets the request's own copies only later
            path=channel._path,  # noqa: SLF001
            version=channel._version,  # noqa: SLF001
            headers=self.requestHeaders,
            peer=getattr(self.getClientAddress(), "host", ""),
            length=length,
            tls=channel.tls,
        )

    def _first_headers(self) -> None:
        given = (self.requestHeaders.getRawHeaders(b"x-request-id") or [b""])[-1]
        request_id = given if _SANE_ID.fullmatch(given) else new_digits().encode()
        self.setHeader(b"x-request-id", request_id)
        self.setHeader(b"date", _date(int(time.time())))
        for name, value in self._cross_origin.items():
            self.setHeader(name, value)
