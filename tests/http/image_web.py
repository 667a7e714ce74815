"""An `ImageFetcher` before a web in memory: names to look up, and hosts that the test plays."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from openclaw_twisted.content import ImagePart, Message
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.chat_request import parse
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.parts import ContentLimits
from tests.http import images
from tests.http.test_parts import image, limits

KEY = "gateway.http.endpoints.chatCompletions.images"
PARAM = "messages[0].content[0].image_url.url"
PUBLIC = "93.184.215.14"
PNG = images.png()


def answer(body: bytes = PNG, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"moved", f"Location: {location}", status=status)


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def messages(*urls: str, allowed: ContentLimits) -> tuple[Message, ...]:
    body = {"messages": [{"role": "user", "content": [image(url) for url in urls]}]}
    return parse(json.dumps(body).encode(), allowed)[1].messages


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows a few names.

    A name has one answer (the text of its addresses), or a list of answers for one lookup after the
    other. What it does not know has no address; what has `None` is never answered.
    """

    def __init__(self, **known: str | list[str] | None) -> None:
        self.known = {name.replace("_", "."): answers for name, answers in known.items()}
        self.asked: list[str] = []
        self.receivers: list[IResolutionReceiver] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803 - the interface names it so
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[Any] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> Any:
        self.asked.append(hostName)
        self.receivers.append(resolutionReceiver)
        answers = self.known.get(hostName, "")
        if isinstance(answers, list):
            answers = answers.pop(0) if len(answers) > 1 else answers[0]
        if answers is not None:
            for found in answers.split():
                kind = IPv4Address if ip_address(found).version == 4 else IPv6Address
                resolutionReceiver.addressResolved(kind("TCP", found, portNumber))
            resolutionReceiver.resolutionComplete()


class Transport(StringTransport):
    """A transport that can be asked to hurry, as TLS does."""

    def setTcpNoDelay(self, enabled: bool) -> None: ...


class Host:
    """The other end of a connection that was asked for."""

    def __init__(self, asked_for: Any) -> None:
        self.ip, self.port, factory, self.timeout, _ = asked_for
        self._factory = factory
        self.transport = Transport()
        self._protocol: Protocol | None = None

    def accept(self) -> None:
        self._protocol = self._factory.buildProtocol(IPv4Address("TCP", self.ip, self.port))
        assert self._protocol is not None
        self._protocol.makeConnection(self.transport)

    def refuse(self) -> None:
        self._factory.clientConnectionFailed(None, Failure(ConnectError()))

    @property
    def request(self) -> list[str]:
        """The lines of what was asked."""
        sent: bytes = self.transport.value()
        return sent.decode().split("\r\n")

    @property
    def aborted(self) -> bool:
        return bool(self.transport.disconnecting)

    def send(self, data: bytes) -> None:
        assert self._protocol is not None
        self._protocol.dataReceived(data)
        if self.aborted:
            self.hang_up()

    def hang_up(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(ConnectionDone()))


class MemoryWeb:
    """An `ImageFetcher` whose connections lead nowhere: each is a `Host` that the test plays."""

    def __init__(
        self, names: Names | None = None, *, allowed: ContentLimits | None = None, **settings: Any
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.names = names if names is not None else Names(example_org=PUBLIC, cdn_example_net="1.1.1.1")
        self.limits = allowed if allowed is not None else limits(allow_url=True, **settings)
        self.fetcher = ImageFetcher(self.reactor, self.limits, resolver=self.names)
        self.hosts: list[Host] = []
        self._fetching: list[Deferred[tuple[Message, ...]]] = []

    @property
    def connections(self) -> list[tuple[str, int]]:
        return [(client[0], client[1]) for client in self.reactor.tcpClients]

    def fetch(self, *urls: str) -> Deferred[tuple[Message, ...]]:
        fetching = Deferred.fromCoroutine(self.fetcher.resolve(messages(*urls, allowed=self.limits)))
        self._fetching.append(fetching)
        return fetching

    def stop(self) -> None:
        for fetching in self._fetching:
            fetching.cancel()
            fetching.addErrback(lambda failure: failure.trap(CancelledError))

    def host(self, *, accept: bool = True) -> Host:
        """Return the next host that was connected to."""
        host = Host(self.reactor.tcpClients[len(self.hosts)])
        self.hosts.append(host)
        if accept:
            host.accept()
        return host


class MemoryCase(SynchronousTestCase):
    def web(
        self, names: Names | None = None, *, allowed: ContentLimits | None = None, **settings: Any
    ) -> MemoryWeb:
        web = MemoryWeb(names, allowed=allowed, **settings)
        self.addCleanup(web.stop)
        return web

    def fetched(self, fetching: Deferred[tuple[Message, ...]]) -> list[ImagePart]:
        return [part for message in self.successResultOf(fetching) for part in message.content]  # type: ignore[misc]

    def trouble(self, fetching: Deferred[tuple[Message, ...]]) -> InvalidRequestError:
        error = self.failureResultOf(fetching, InvalidRequestError).value
        assert isinstance(error, InvalidRequestError)
        return error
