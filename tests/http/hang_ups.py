"""Clients that leave, in every way and at every moment, and how soon the upstream hears of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk

__all__ = ["HangUp", "HangUps", "every_hang_up"]

Moment = Literal["before the first byte", "mid-stream", "whole answer"]
Manner = Literal["FIN", "RST", "half-close"]


class HangUp(NamedTuple):
    """When a client leaves, and how."""

    moment: Moment
    manner: Manner


def every_hang_up(count: int) -> Iterator[HangUp]:
    """Yield hang-ups, each kind as often as every other."""
    moments: tuple[Moment, ...] = ("before the first byte", "mid-stream", "whole answer")
    manners: tuple[Manner, ...] = ("FIN", "RST", "half-close")
    kinds = [HangUp(moment, manner) for moment, manner in product(moments, manners)]
    for at in range(count):
        yield kinds[at % len(kinds)]


class Client(Protocol):
    """A client that can leave in several ways."""

    transport: Any

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()
        self._received = b""
        self._wanted: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if self._wanted is not None and b"half an" in self._received:
            wanted, self._wanted = self._wanted, None
            wanted.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(None)

    async def half_an_answer(self) -> None:
        if b"half an" not in self._received:
            self._wanted = Deferred()
            await self._wanted

    def leave(self, manner: Manner) -> None:
        match manner:
            case "FIN":
                self.transport.loseConnection()
            case "RST":
                self.transport.abortConnection()
            case "half-close":
                self.transport.loseWriteConnection()


class HangUps:
    """Clients of the gateway at `port`, whose upstream is played here: listen with it first."""

    def __init__(self, reactor: Any, *, token: str) -> None:
        self.upstream = FakeUpstream(self._called)
        self._reactor = reactor
        self._token = token
        self._arrivals: dict[str, Deferred[UpstreamCall]] = {}
        self._number = 0

    async def seconds(self, port: int, hang_up: HangUp) -> float:
        """Ask, leave, and return how long it took until the upstream's connection was closed."""
        self._number += 1
        name = f"question {self._number}"
        arrival = self._arrivals[name] = Deferred()
        client: Client = await connectProtocol(TCP4ClientEndpoint(self._reactor, "127.0.0.1", port), Client())
        client.transport.write(self._request(name, stream=hang_up.moment != "whole answer"))
        call = await arrival
        if hang_up.moment != "before the first byte":
            call.stream(chunk({"content": "half an"}))
        if hang_up.moment == "mid-stream":
            await client.half_an_answer()
        closed, left_at = call.closed, self._reactor.seconds()
        client.leave(hang_up.manner)
        await closed
        took = self._reactor.seconds() - left_at
        client.transport.abortConnection()
        await client.closed
        return float(took)

    def _request(self, name: str, *, stream: bool) -> bytes:
        messages = [{"role": "user", "content": name}]
        body = json.dumps({"model": "openclaw", "stream": stream, "messages": messages}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {self._token}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _called(self, call: UpstreamCall) -> None:
        self._arrivals.pop(call.body["messages"][-1]["content"]).callback(call)
