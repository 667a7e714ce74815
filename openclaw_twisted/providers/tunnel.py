"""A way through an HTTP proxy: CONNECT, then whatever was meant for the other side.

    connected --> CONNECT host:port is sent --> 2xx: the inner protocol has the connection from here on
                                            '-> anything else, silence, too long a head: closed, and told

The tunnel carries plain HTTP as well as TLS. Of a request to an https address the proxy sees the host and the
port, and of ours, where its own address has a user name, `Proxy-Authorization`.
https://www.rfc-editor.org/rfc/rfc9110#name-connect
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Proxy", "Tunnel", "TunnelRefusedError"]

MAX_HEAD_BYTES = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


class TunnelRefusedError(ConnectError):
    """The proxy did not let us through; `why` says it in a few words."""

    def __init__(self, why: str) -> None:
        super().__init__(string=why)
        self.why = why


@dataclass(frozen=True)
class Proxy:
    """Where a proxy is; `credentials` are `user:password`, empty when it asks for none."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)

    def headers(self, target: bytes) -> bytes:
        """Return the request for a tunnel to `target`, a host with its port."""
        lines = [b"CONNECT %b HTTP/1.1" % target, b"Host: " + target]
        if self.credentials:
            told = base64.b64encode(self.credentials.encode())
            lines.append(b"Proxy-Authorization: Basic " + told)
        return b"\r\n".join([*lines, b"", b""])


@implementer(IStreamClientEndpoint)
class Tunnel:
    """An endpoint behind a proxy; `to_proxy` reaches the proxy, all together may take `seconds`."""

    def __init__(
        self, clock: IReactorTime, to_proxy: IStreamClientEndpoint, *, request: bytes, seconds: float
    ) -> None:
        self._clock = clock
        self._to_proxy = to_proxy
        self._request = request
        self._seconds = seconds

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Connect through the proxy; fails with `TunnelRefusedError` and as connecting does."""
        connecting: Deferred[Any] = self._to_proxy.connect(_Diggers(protocolFactory, self._request))
        connecting.addCallback(lambda digging: digging.through)
        return connecting.addTimeout(self._seconds, self._clock, lambda *_: Failure(ConnectTimeoutError()))


class _Diggers(Factory):
    noisy = False

    def __init__(self, inner: IProtocolFactory, request: bytes) -> None:
        self._inner = inner
        self._request = request

    def buildProtocol(self, addr: Any) -> _Digging:  # noqa: N802
        return _Digging(self._inner, self._request, addr)


class _Digging(Protocol):
    """A connection to the proxy; `through` fires with the inner protocol when the proxy lets it through."""

    transport: Any

    def __init__(self, factory: IProtocolFactory, request: bytes, addr: Any) -> None:
        self.through: Deferred[IProtocol] = Deferred(self._given_up)
        self._factory = factory
        self._request = request
        self._addr = addr
        self._head = b""
        self._inner: Any = None

    def connectionMade(self) -> None:  # noqa: N802
        """Ask to be let through."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Read the proxy's answer; what follows it is the other side's."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, ended, rest = self._head.partition(b"\r\n\r\n")
        if not ended:
            if len(self._head) > MAX_HEAD_BYTES:
                self._refused("the proxy's answer is too long")
            return
        status = _STATUS.match(head)
        if status is None:
            self._refused("the proxy does not speak HTTP")
        elif not status[1].startswith(b"2"):
            self._refused(f"the proxy answered {int(status[1])}")
        else:
            self._enter(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell whoever is at this end."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.through.called:
            self.through.errback(TunnelRefusedError("the proxy hung up"))

    def _enter(self, rest: bytes) -> None:
        self._head = b""
        self._inner = self._factory.buildProtocol(self._addr)
        self._inner.makeConnection(self.transport)
        self.through.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def _refused(self, why: str) -> None:
        self.transport.abortConnection()
        if not self.through.called:
            self.through.errback(TunnelRefusedError(why))

    def _given_up(self, _through: Deferred[IProtocol]) -> None:
        self.transport.abortConnection()
