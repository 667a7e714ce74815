"""What tests of a whole gateway process share: an upstream, a folder, a configuration, a client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor, stream_of
from tests.gateway.process import TOKEN, Said, configuration, free_port

__all__ = ["GatewayCase", "turn"]


async def turn(seconds: float = 0.005) -> None:
    """Let the reactor work."""
    await deferLater(real_reactor(), seconds)


class GatewayCase(TestCase):
    """A test with a gateway in a process; a question that says "wait" is left to the test, in `held`."""

    timeout = 60

    def setUp(self) -> None:
        self.upstream = FakeUpstream(self.answer)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.pool = HTTPConnectionPool(real_reactor())
        self.pool.maxPersistentPerHost = 100
        self.addCleanup(lambda: self.pool.closeCachedConnections())  # noqa: PLW0108 - when it has some
        self.client = HTTPClient(Agent(real_reactor(), pool=self.pool))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.config: dict[str, Any] = configuration(self.upstream.base_url, self.port)
        self.held: list[UpstreamCall] = []
        self.asked: list[Any] = []

    def answer(self, call: UpstreamCall) -> None:
        self.asked.append(call.body)
        if call.body["messages"][-1]["content"] == "wait":
            self.held.append(call)
            call.stream()
            return
        call.stream(*stream_of("ok"))
        call.end()

    async def started(self, *more: str, **how: Any) -> Said:
        """Start a gateway and wait until it answers."""
        gateway = Said(self.folder, self.config, *more, **how)
        self.addCleanup(lambda: Deferred.fromCoroutine(_killed(gateway)))
        await gateway.ready
        return gateway

    async def get(self, path: str, token: str = TOKEN) -> tuple[int, Any]:
        """Ask for a path; return the status and the JSON."""
        response = await self.client.get(f"http://127.0.0.1:{self.port}{path}", headers=_headers(token))
        return response.code, json.loads(await response.text())

    async def ask(
        self, content: str = "hi", *, headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, str]:
        """Ask a question; return the status and the body."""
        response = await self.client.post(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": content}]} | more,
            headers=_headers(TOKEN, headers),
        )
        return response.code, await response.text()

    def begin(self, content: str = "hi", **more: Any) -> Deferred[tuple[int, str]]:
        """Start to ask a question."""
        return Deferred.fromCoroutine(self.ask(content, **more))

    def finish(self, call: UpstreamCall) -> None:
        """Answer a question that was left to the test."""
        for event in stream_of("ok"):
            call.event(event)
        call.end()

    async def holding(self, count: int) -> None:
        """Wait until so many questions are left to the test."""
        while len(self.held) < count:
            await turn()


def _headers(token: str, more: dict[str, str] | None = None) -> Headers:
    headers = Headers({"authorization": [f"Bearer {token}"]})
    for name, value in (more or {}).items():
        headers.addRawHeader(name, value)
    return headers


async def _killed(gateway: Said) -> None:
    if not gateway.ended.called:
        await gateway.stop("KILL")
