"""An upstream that is down: how many requests it gets from a gateway whose clients all try again."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest, Provider
from openclaw_twisted.errors import UpstreamError, UpstreamOverloadedError
from openclaw_twisted.providers.access import Access, Credential
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.providers.openai_completions import OpenAICompletions
from openclaw_twisted.providers.scripted import Scripted, reply
from openclaw_twisted.testing import user
from tests.providers.playing import BASE, Playing, Reply

__all__ = ["OutageTests"]

CLIENTS = 100
SECONDS = 30.0
TURN_SECONDS = 0.05
SDK_RETRIES = 2


class OutageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.requests = 0
        self.told: list[UpstreamError] = []

    def storm(self, provider: Provider) -> None:
        """Let clients come for as long as the outage takes, each with the retries of OpenAI's own."""
        failover = Failover(Catalog({"p": provider}), self.clock, jitter=lambda: 0.5)
        clients = [Deferred.fromCoroutine(self.client(failover, number)) for number in range(CLIENTS)]
        while self.clock.getDelayedCalls():
            self.clock.advance(TURN_SECONDS)
        for client in clients:
            self.successResultOf(client)

    async def client(self, failover: Failover, number: int) -> None:
        await deferLater(self.clock, number / CLIENTS)
        while self.clock.seconds() < SECONDS:
            for _ in range(1 + SDK_RETRIES):
                self.requests += 1
                error = await self.ask(failover)
                self.told.append(error)
                await deferLater(self.clock, error.retry_after_seconds or 0.5)

    async def ask(self, failover: Failover) -> UpstreamError:
        try:
            async for _ in failover.respond(ModelRequest(model="p/m", messages=(user("hi"),))):
                pass
        except UpstreamError as error:
            return error
        raise AssertionError("the upstream is down")

    def test_a_provider_that_is_down_gets_hardly_any(self) -> None:
        trouble: list[list[Reply]] = [[503], [500], [(503, "2")], [UpstreamError("refused")]]
        for replies in trouble:
            self.setUp()
            upstream = Playing(self.clock, key=replies)
            access = Access(
                upstream,
                [Credential(1, {"authorization": "key"}, seconds=self.clock.seconds)],
                name="p",
                base_url=BASE,
                clock=self.clock,
            )
            self.storm(OpenAICompletions(access, name="p", base_url=BASE, headers={}))
            self.assertGreater(self.requests, 2 * CLIENTS)
            self.assertLess(len(upstream.keys), self.requests / 10)
            spared = [error for error in self.told if isinstance(error, UpstreamOverloadedError)]
            self.assertTrue(
                all(error.retry_after_seconds for error in spared if "too often" in error.message)
            )

    def test_one_that_no_breaker_spares_gets_a_fifth_more(self) -> None:
        provider = Scripted(*([UpstreamError("down")] for _ in range(20_000)))
        self.storm(provider)
        self.assertGreater(self.requests, 5 * CLIENTS)
        self.assertGreater(len(provider.requests), self.requests)
        self.assertLessEqual(len(provider.requests), 1.2 * self.requests)

    def test_a_single_request_has_its_second_try(self) -> None:
        provider = Scripted([UpstreamError("down")], reply("ok"))
        failover = Failover(Catalog({"p": provider}), self.clock)
        asking = Deferred.fromCoroutine(self.answered(failover))
        self.clock.advance(1)
        self.assertTrue(self.successResultOf(asking))

    async def answered(self, failover: Failover) -> bool:
        return [
            batch async for batch in failover.respond(ModelRequest(model="p/m", messages=(user("hi"),)))
        ] != []
