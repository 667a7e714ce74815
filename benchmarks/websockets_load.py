"""WebSocket clients in number: those that only stay, and those that call a method again and again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from load import Peer, Tally
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint

__all__ = ["idle_websockets", "websocket_calls"]

AT_A_TIME = 16  # fewer than the gateway lets in at a time before they have logged in

_CONNECT = {
    "minProtocol": 4,
    "maxProtocol": 4,
    "client": {"id": "gateway-client", "version": "0", "platform": "linux", "mode": "backend"},
    "role": "operator",
    "scopes": ["operator.write"],
}


class _Client(WebSocketClientProtocol):
    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer
        self.logged_in: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()
        self.answered: Callable[[bool], None] = lambda _ok: None

    def call(self, method: str, params: dict[str, Any]) -> None:
        frame = {"type": "req", "id": "1", "method": method, "params": params}
        self.sendMessage(json.dumps(frame).encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        if payload.startswith(b'{"type":"res"') or b'"type":"res"' in payload[:40]:
            if not self.logged_in.called:
                self.logged_in.callback(None)
            else:
                self.answered(b'"ok":true' in payload)
        elif b"connect.challenge" in payload:
            self.call("connect", {**_CONNECT, "auth": {"token": self._peer.token}})

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        if not self.logged_in.called:
            self.logged_in.errback(RuntimeError(f"closed before it was let in: {code} {reason}"))
        self.closed.callback(None)


async def _open(reactor: Any, peer: Peer) -> _Client:
    factory = WebSocketClientFactory(f"ws://{peer.host}:{peer.port}/")
    client = _Client(peer)
    factory.protocol = lambda: client
    factory.noisy = False
    factory.setProtocolOptions(openHandshakeTimeout=0)  # the machine may be busy with others
    endpoint = TCP4ClientEndpoint(reactor, peer.host, peer.port)
    await endpoint.connect(factory)
    await client.logged_in
    return client


async def idle_websockets(reactor: Any, peer: Peer, count: int) -> Callable[[], Awaitable[None]]:
    """Log `count` clients in; what is returned lets them go."""
    clients: list[_Client] = []

    async def work(share: int) -> None:
        for _ in range(share):
            client = await _open(reactor, peer)
            clients.append(client)

    shares = [count // AT_A_TIME + (at < count % AT_A_TIME) for at in range(AT_A_TIME)]
    await gatherResults([Deferred.fromCoroutine(work(share)) for share in shares])

    async def let_go() -> None:
        for client in clients:
            client.sendClose(1000)
        await gatherResults([client.closed for client in clients])

    return let_go


async def websocket_calls(reactor: Any, peer: Peer, *, connections: int, seconds: float) -> Tally:
    """Call `health` on each connection again and again, one call at a time."""
    tally = Tally()
    began = reactor.seconds()

    async def work() -> None:
        client = await _open(reactor, peer)
        while reactor.seconds() - began < seconds:
            due, answer = reactor.seconds(), Deferred[bool]()
            client.answered = answer.callback
            client.call("health", {})
            if await answer:
                tally.answers += 1
                tally.latencies.append(reactor.seconds() - due)
            else:
                tally.errors += 1
        client.sendClose(1000)
        await client.closed

    await gatherResults([Deferred.fromCoroutine(work()) for _ in range(connections)])
    tally.seconds = reactor.seconds() - began
    return tally
