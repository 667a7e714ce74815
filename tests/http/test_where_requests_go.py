"""Nothing that a request says changes where the gateway calls, or with what."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import ProviderSettings
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor, stream_of
from tests.http.door import HELLO, DoorCase

__all__ = ["SteeringTests"]

KEY = "Bearer sk-the-key"
ANOTHER = "sk-another-key-of-mine"
HEADERS = {"host", "authorization", "content-type", "accept", "accept-encoding", "content-length", "x-team"}


class SteeringTests(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.upstream = self.listening(self.answer)
        self.elsewhere = self.listening(None)
        given = ProviderSettings(
            base_url=self.upstream.base_url, api_key=Secret("sk-the-key"), headers={"x-team": Secret("blue")}
        )
        configured = Configured(real_reactor(), {"mock": given})
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        provider = Failover(Catalog(configured.providers), real_reactor())
        self.open(settings={"agents": {"defaults": {"model": "mock/m"}}}, provider=provider)

    def listening(self, behaviour: Any) -> FakeUpstream:
        upstream = FakeUpstream(behaviour)
        upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(upstream.stop()))
        return upstream

    def answer(self, call: UpstreamCall) -> None:
        self.seen.append((call.path, call.headers, call.body))
        call.stream(*stream_of("ok"))
        call.end()

    async def assert_nothing_steers(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        """Say that the upstream is asked as ever, or not at all, and nobody else is; return its body."""
        self.seen = []
        answer = await self.ask("POST", "/v1/chat/completions", headers=headers, body=HELLO | body)
        self.assertLess(answer.status, 500, answer.text)
        self.assertEqual(self.elsewhere.connections, 0)
        if answer.status != 200:
            self.assertEqual(self.seen, [])
            return None
        ((path, sent, asked),) = self.seen
        self.assertEqual(path, "/v1/chat/completions")
        self.assertEqual((sent["authorization"], sent["x-team"]), (KEY, "blue"))
        self.assertEqual(set(sent) - HEADERS, set())
        self.assertNotIn(ANOTHER, str(asked))
        return asked

    async def test_fields_of_the_body(self) -> None:
        there = self.elsewhere.base_url
        for field, value in {
            "api_base": there,
            "base_url": there,
            "baseUrl": there,
            "api_key": ANOTHER,
            "apiKey": ANOTHER,
            "headers": {"authorization": ANOTHER},
            "extra_headers": {"authorization": ANOTHER, "x-team": ANOTHER},
            "extra_body": {"api_key": ANOTHER},
            "extra_query": {"key": ANOTHER},
            "organization": ANOTHER,
            "proxy": there,
            "timeout": 0.001,
        }.items():
            asked = await self.assert_nothing_steers({field: value})
            self.assertNotIn(field, asked)

    async def test_what_is_passed_on_is_passed_on_as_data(self) -> None:
        there = f"{self.elsewhere.base_url}/x\r\nauthorization: {KEY}x"
        tool = {"type": "function", "function": {"name": "get", "description": there, "parameters": {}}}
        asked = await self.assert_nothing_steers(
            {"tools": [tool], "stop": [there], "messages": [{"role": "user", "content": there}]}
        )
        self.assertEqual(asked["messages"][-1]["content"], there)

    async def test_models(self) -> None:
        there = self.elsewhere.base_url
        for model in (
            there,
            f"mock/{there}",
            "../m",
            "mock/../../x",
            "mock/m\r\nx: y",
            "mock/m HTTP/1.1",
            "//x",
        ):
            await self.assert_nothing_steers({"model": model})
        for model in (f"mock/{there}", "mock/../../x", "mock/..%2f..%2fx", "mock//x", "mock/m?key=1#x"):
            asked = await self.assert_nothing_steers({}, {"x-openclaw-model": model})
            if asked is not None:
                self.assertEqual(asked["model"], model.partition("/")[2])

    async def test_headers(self) -> None:
        there = self.elsewhere.base_url
        await self.assert_nothing_steers(
            {},
            {
                "x-api-key": ANOTHER,
                "x-team": ANOTHER,
                "x-base-url": there,
                "x-forwarded-host": "example.org",
                "forwarded": "host=example.org",
                "proxy-authorization": ANOTHER,
                "cookie": "a=b",
                "x-openclaw-base-url": there,
                "openai-organization": ANOTHER,
                "traceparent": "00-1-2-00",
            },
        )
