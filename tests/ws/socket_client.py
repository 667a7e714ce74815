"""A WebSocket client on a real socket: Autobahn's, with queues of what it hears."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.ssl import CertificateOptions

from openclaw_twisted.testing import real_reactor
from tests.ws.record import Record
from tests.ws.rig import BROADCAST

__all__ = ["Client", "connect_client"]


class Client(WebSocketClientProtocol):
    """A client that queues what it hears, and apart from it what everybody hears of runs.

    `closed` gives the code and the reason.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.heard: DeferredQueue[Any] = DeferredQueue()
        self.events: DeferredQueue[Any] = DeferredQueue()
        self.closed: Deferred[tuple[int, str | None]] = Deferred()
        self._record = Record()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N803
        frame = json.loads(payload)
        self._record.heard(frame)
        told = isinstance(frame, dict) and frame.get("event") in BROADCAST
        (self.events if told else self.heard).put(frame)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N803
        self.closed.callback((code or 0, reason))

    def sendMessage(self, payload: bytes, *rest: Any, **options: Any) -> None:
        self._record.asked(payload)
        super().sendMessage(payload, *rest, **options)

    def say(self, request_id: str, method: str, **params: Any) -> None:
        request = {"type": "req", "id": request_id, "method": method, "params": params}
        self.sendMessage(json.dumps(request).encode())

    async def ask(self, request_id: str, method: str, **params: Any) -> Any:
        """Send a request and return the next frame."""
        self.say(request_id, method, **params)
        return await self.heard.get()


async def connect_client(port: int, *, tls: bool = False, headers: Mapping[str, str] | None = None) -> Client:
    """Open a WebSocket on loopback."""
    reactor = real_reactor()
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/", headers=dict(headers or {}), reactor=reactor)
    factory.protocol = Client
    factory.setProtocolOptions(
        failByDrop=False, openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0
    )
    endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    if tls:
        endpoint = wrapClientTLS(CertificateOptions(), endpoint)
    client: Client = await endpoint.connect(factory)
    return client
