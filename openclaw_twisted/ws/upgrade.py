"""The HTTP request that becomes a WebSocket: who may have one, and how the connection changes hands.

The checks come first and are answered over HTTP. Autobahn then gets the connection and the few headers that
its own handshake needs: what else a request carries (cookies, extensions, a path) means nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IProtocol, ISSLTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from openclaw_twisted import errors
from openclaw_twisted.auth.addresses import client_address
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.errors import GatewayError, InvalidRequestError, ShuttingDownError
from openclaw_twisted.ws.connect import Visitor
from openclaw_twisted.ws.lobby import Lobby, Place

__all__ = ["Upgrade"]

_STATUS: Mapping[type[GatewayError], HTTPStatus] = {
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.InvalidRequestError: HTTPStatus.BAD_REQUEST,
    errors.MisdirectedError: HTTPStatus.MISDIRECTED_REQUEST,
    errors.OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ShuttingDownError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_HANDED_ON = (b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version")


class Upgrade(Resource):
    """Answers every upgrade request, whatever its path.

    `connect` makes the protocol for a visitor who has a place in the lobby.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self, rules: Doorkeeping, lobby: Lobby, connect: Callable[[Visitor, Place], IProtocol]
    ) -> None:
        super().__init__()
        self.accepting = True
        self.rules = rules
        self._lobby = lobby
        self._connect = connect

    def render(self, request: Request) -> Any:
        """Hand the connection over, or say why not."""
        try:
            visitor = self._admit(request)
            place = self._lobby.enter(visitor.address.network)
        except GatewayError as error:
            return _refuse(request, error)
        hand_over(request, self._connect(visitor, place))
        return NOT_DONE_YET

    def _admit(self, request: Request) -> Visitor:
        headers, rules = request.requestHeaders, self.rules
        if not self.accepting:
            raise ShuttingDownError("The gateway is shutting down. Try again soon.", retry_after_seconds=5)
        if request.method != b"GET" or request.clientproto != b"HTTP/1.1":
            raise InvalidRequestError("A WebSocket begins with a GET request of HTTP/1.1.")
        authority = rules.hosts.check(headers)
        tls = ISSLTransport.providedBy(request.channel.transport)
        rules.origins.check(headers, authority, tls=tls)
        peer = getattr(request.getClientAddress(), "host", "")
        return Visitor(address=client_address(peer, headers, rules.proxies), headers=headers)


def hand_over(request: Request, protocol: IProtocol) -> None:
    """Make `protocol` the one that the request's connection speaks, from the opening handshake on."""
    channel: Any = request.channel
    producer = channel._networkProducer  # noqa: SLF001 - Twisted's channel is not made for this
    # Left in place, HTTP's producer would keep the WebSocket's own away, and with it all back-pressure.
    producer.unregisterProducer()
    transport, channel.transport = channel.transport, None
    if isinstance(transport, ProtocolWrapper):  # TLS
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
    # What came together with the request is in the channel's hands yet, and goes on from there.
    channel.rawDataReceived = protocol.dataReceived
    protocol.makeConnection(transport)
    producer.resumeProducing()
    protocol.dataReceived(_opening(request) + b"".join(channel._dataBuffer))  # noqa: SLF001


def _opening(request: Request) -> bytes:
    lines = [b"GET / HTTP/1.1", b"host: gateway"]
    for name in _HANDED_ON:
        lines += [name + b": " + value for value in request.requestHeaders.getRawHeaders(name) or ()]
    return b"\r\n".join([*lines, b"", b""])


def _refuse(request: Request, error: GatewayError) -> bytes:
    request.setResponseCode(_STATUS[type(error)])
    request.setHeader("content-type", "text/plain; charset=utf-8")
    if error.retry_after_seconds is not None:
        request.setHeader("retry-after", str(int(error.retry_after_seconds)))
    return f"{error.message}\n".encode()
