"""What gateways are measured in: `python benchmarks/yardstick.py NAME UPSTREAM_PORT` prints its port.

`answer` is a Klein application with one route, which reads a JSON body and answers with a small one.
`relay` has one that calls Twisted's own Agent: it passes each request on as it is and its answer back as it
comes, and looks at neither. Nobody logs in, and nothing is recorded. What a request costs them is what
it costs to take one with Klein, and to send it on with the Agent, on this machine just now.
`pipe` knows no HTTP: it opens a connection to the provider for each of a client's, and what comes on one it
sends on the other, at once if the socket takes it. Less a chunk cannot cost on Twisted.
`parts` is `answer` with the other packages imported that a gateway of this kind is made of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import Any

import msgspec
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, ResponseNeverReceived
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.server import Site

__all__ = ["YARDSTICKS", "answer", "main", "parts", "relay"]

BACKLOG = 4096
CONNECTIONS = 1024

_JSON = Headers({"content-type": ["application/json"]})


def answer() -> Klein:
    """Return the application that answers by itself."""
    app = Klein()

    @app.route("/v1/chat/completions", methods=["POST"])
    def complete(request: Request) -> bytes:
        asked = msgspec.json.decode(request.content.read())
        request.setHeader(b"content-type", b"application/json")
        message = {"role": "assistant", "content": f"{len(asked['messages'])} messages"}
        return msgspec.json.encode({"object": "chat.completion", "choices": [{"message": message}]})

    return app


def relay(reactor: Any, upstream: str) -> Klein:
    """Return the application that asks the provider at a base URL."""
    app = Klein()
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = CONNECTIONS
    agent = Agent(reactor, pool=pool)
    url = f"{upstream}/v1/chat/completions".encode()

    @app.route("/v1/chat/completions", methods=["POST"])
    async def complete(request: Request) -> None:
        body = FileBodyProducer(BytesIO(request.content.read()))
        try:
            response = await agent.request(b"POST", url, _JSON, body)
        except ResponseNeverReceived:  # also when the client has hung up
            request.setResponseCode(http.BAD_GATEWAY)
            return
        request.setResponseCode(response.code)
        for name in (b"content-type", b"content-length"):
            for value in response.headers.getRawHeaders(name, []):
                request.setHeader(name, value)
        await _Passing.on(response, request)

    return app


class _Passing(Protocol):
    """Writes a response's body to a request as it comes; cancelling `ended` hangs up upstream."""

    transport: Any

    def __init__(self, request: Request) -> None:
        self._request = request
        self.ended: Deferred[None] = Deferred(lambda _ended: self.transport.loseConnection())

    @classmethod
    def on(cls, response: Any, request: Request) -> Deferred[None]:
        passing = cls(request)
        response.deliverBody(passing)
        return passing.ended

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        if not self.ended.called:
            self.ended.callback(None)


class _End(Protocol):
    """One of two connections: what comes here is sent there."""

    transport: Any
    other: _End | None = None

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(1)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self.other is not None:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        sent = self.transport.socket.send(data) if not self.transport.dataBuffer else 0
        if sent < len(data):
            self.transport.write(data[sent:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        if self.other is not None:
            self.other.transport.loseConnection()


class _Near(_End):
    """The client's end, which is not read until the other one is there."""

    def __init__(self, provider: TCP4ClientEndpoint) -> None:
        self._provider = provider

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        self.transport.pauseProducing()
        connectProtocol(self._provider, _End()).addCallback(self._join)

    def _join(self, other: _End) -> None:
        self.other, other.other = other, self
        self.transport.resumeProducing()


class _Pipes(Factory):
    noisy = False

    def __init__(self, provider: TCP4ClientEndpoint) -> None:
        self._provider = provider

    def buildProtocol(self, addr: object) -> _Near:  # noqa: N802
        return _Near(self._provider)


class _Site(Site):
    def log(self, request: Request) -> None:
        """Write no access log: it would be a fifth of the cost."""


def parts() -> Klein:
    """Return `answer`, in a process that has imported the other packages too."""
    for name in ("autobahn.twisted.resource", "autobahn.twisted.websocket", "json5", "treq"):
        import_module(name)
    return answer()


def _served(app: Klein) -> Factory:
    return _Site(app.resource(), parsePOSTFormSubmission=False)


YARDSTICKS: dict[str, Callable[[Any, int], Factory]] = {
    "answer": lambda _reactor, _port: _served(answer()),
    "parts": lambda _reactor, _port: _served(parts()),
    "relay": lambda reactor, port: _served(relay(reactor, f"http://127.0.0.1:{port}/v1")),
    "pipe": lambda reactor, port: _Pipes(TCP4ClientEndpoint(reactor, "127.0.0.1", port)),
}


def main(name: str, upstream_port: str) -> None:
    """Listen until the process ends."""
    from twisted.internet import reactor  # noqa: TID251 - a program of its own

    loop: Any = reactor
    factory = YARDSTICKS[name](loop, int(upstream_port))
    listening = loop.listenTCP(0, factory, interface="127.0.0.1", backlog=BACKLOG)
    print(listening.getHost().port, flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
