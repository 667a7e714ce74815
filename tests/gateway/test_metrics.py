"""The whole gateway hangs its counters where things happen."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import treq
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.config.parse import parse
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import UpstreamAuthError
from openclaw_twisted.providers.scripted import Scripted, reply
from openclaw_twisted.service import Gateway
from openclaw_twisted.testing import real_reactor
from tests.http.test_metrics import Samples, samples_in

__all__ = ["MetricsTests"]

TOKEN = "a-token-for-tests-only-0123456789"
MODELS = {
    "model": {"primary": "quick", "fallbacks": ["second/m"]},
    "models": {"first/m": {"alias": "quick"}},
}
CONFIGURATION = {
    "gateway": {"auth": {"token": TOKEN}, "http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
    "agents": {"defaults": MODELS},
    "metrics": {"public": True},
}
UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class Heard(Protocol):
    """Fires `first` with the first bytes that come."""

    def __init__(self) -> None:
        self.first: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self.first.called:
            self.first.callback(data)


class MetricsTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()

    async def start(self, *, first: Scripted, second: Scripted) -> None:
        reactor = real_reactor()
        loaded = parse(json.dumps(CONFIGURATION), {})
        settings = replace(loaded.settings, gateway=replace(loaded.settings.gateway, port=0))
        self.gateway = Gateway(
            reactor,
            type(loaded)(settings=settings),
            state_dir=self.home,
            home=self.home,
            out=io.StringIO(),
            leave=self.fail,
            providers={"first": first, "second": second},
        )
        self.gateway.startService()
        self.addCleanup(self.gateway.stopService)
        await self.gateway.started()
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        self.client = treq.client.HTTPClient(agent)

    async def chat(self, token: str) -> int:
        response = await self.client.post(
            f"{self.gateway.base_url}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "hi"}]},
            headers=Headers({"authorization": [f"Bearer {token}"]}),
        )
        await response.text()
        return int(response.code)

    async def scrape(self) -> Samples:
        response = await self.client.get(f"{self.gateway.base_url}/metrics")
        return samples_in(await response.text())

    async def websocket(self) -> Any:
        port = int(self.gateway.base_url.rpartition(":")[2])
        heard = await connectProtocol(TCP4ClientEndpoint(real_reactor(), "127.0.0.1", port), Heard())
        heard.transport.write(UPGRADE)
        self.assertIn(b"101", await heard.first)
        return heard.transport

    def counted(self, seen: Samples, name: str, **labels: str) -> float:
        return seen[f"openclaw_{name}", frozenset(labels.items())]

    async def test_everything_is_counted(self) -> None:
        first, second = Scripted([UpstreamAuthError("no")]), Scripted(reply("ok", usage=Usage(3, 2, 5)))
        await self.start(first=first, second=second)
        self.assertEqual([await self.chat("wrong"), await self.chat(TOKEN)], [401, 200])
        transport = await self.websocket()
        seen = await self.scrape()
        route = "POST /v1/chat/completions"
        self.assertEqual(self.counted(seen, "runs_total", agent="main", status="finished"), 1)
        self.assertEqual(self.counted(seen, "tokens_total", kind="completion"), 2)
        self.assertEqual(self.counted(seen, "http_responses_total", route=route, status="200"), 1)
        self.assertEqual(self.counted(seen, "http_responses_total", route=route, status="401"), 1)
        self.assertEqual(self.counted(seen, "failed_logins_total", code="unauthorized"), 1)
        self.assertEqual(
            self.counted(seen, "upstream_failures_total", provider="first", code="upstream_auth"), 1
        )
        self.assertEqual(self.counted(seen, "upstream_fallbacks_total", provider="first"), 1)
        gauges = ("runs_running", "runs_waiting", "http_connections", "websocket_connections")
        self.assertEqual([self.counted(seen, name) for name in gauges], [0, 0, 1, 1])
        transport.abortConnection()

    async def test_the_event_loop_is_watched(self) -> None:
        await self.start(first=Scripted(), second=Scripted())
        while not self.counted(await self.scrape(), "event_loop_lag_seconds_count"):
            await deferLater(real_reactor(), 0.05)
