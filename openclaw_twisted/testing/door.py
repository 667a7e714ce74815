"""The HTTP door on a real loopback port, before a runner in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource

from openclaw_twisted import __version__
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.addresses import HostRule, OriginRule, TrustedProxies
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.boundaries import Embedder, Provider, SessionStore
from openclaw_twisted.config.parse import parse
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.agent_runs import AgentRuns
from openclaw_twisted.http.app import Application
from openclaw_twisted.http.chat_completions import ChatCompletions, limits_of
from openclaw_twisted.http.embeddings import EmbeddingsEndpoint
from openclaw_twisted.http.health import Ready
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.item_references import ItemReferences
from openclaw_twisted.http.metrics import Scrape
from openclaw_twisted.http.public_addresses import IPAddress
from openclaw_twisted.http.response_chain import ResponseChain
from openclaw_twisted.http.response_limits import response_limits
from openclaw_twisted.http.responses import Responses
from openclaw_twisted.http.routes import Endpoints, routes
from openclaw_twisted.metrics import Metrics
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.site import GatewaySite
from openclaw_twisted.testing.reactor import real_reactor
from openclaw_twisted.testing.rules import rules_of
from openclaw_twisted.testing.runs import MemoryRuns

__all__ = ["LoopbackDoor"]


class LoopbackDoor:
    """The HTTP door on a real loopback port, before a runner in memory.

    `settings` is a configuration as the file would hold it (a dict); the scripts are the answers. `clock` is
    for those who play with the time that connections have.
    """

    TOKEN = "a-token-for-tests-only"  # noqa: S105 - it opens nothing but this

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *scripts: Any,
        provider: Provider | None = None,
        embedder: Embedder | None = None,
        clock: Any = None,
        store: SessionStore | None = None,
    ) -> None:
        reactor = real_reactor()
        self.settings = _opened(self.TOKEN, settings or {})
        self.failing: list[str] = []
        self.websockets = 0
        self.directory = Directory(
            self.settings.agents, state_dir=Path("/nonexistent"), home=Path("/nonexistent")
        )
        self.metrics = Metrics(agents=self.directory.ids, versions={"version": __version__})
        self.runs = MemoryRuns(
            *scripts,
            provider=provider,
            clock=reactor,
            observe=self.metrics.run_ended,
            rules=rules_of(self.settings, self.directory),
            store=store,
        )
        rules = self._doorkeeping(reactor)
        endpoints = self._endpoints(reactor, rules, embedder)
        application = Application(routes(self.settings, self.directory, endpoints))
        self.routes = application.routes
        self.site = GatewaySite(
            http=application.resource,
            websocket=Resource(),
            admission=Admission(rules, application.matcher, application.routes),
            clock=clock if clock is not None else reactor,
            settings=self.settings.gateway,
            websockets=lambda: self.websockets,
            observe=self.metrics.http_answered,
            dropped=self.metrics.connection_dropped,
        )
        self.metrics.watch(
            runs_running=lambda: self.runs.runner.running,
            runs_waiting=lambda: self.runs.runner.waiting,
            http_connections=lambda: self.connections,
            websocket_connections=lambda: self.websockets,
        )
        self._port: Any = reactor.listenTCP(0, self.site, interface="127.0.0.1")

    @property
    def connections(self) -> int:
        """How many HTTP connections are open."""
        return self.site.connections

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._port.getHost().port)

    def _endpoints(self, clock: IReactorTime, rules: Doorkeeping, embedder: Embedder | None) -> Endpoints:
        agent_runs = self._agent_runs(clock)
        return Endpoints(
            chat=self._chat(clock, agent_runs),
            responses=self._responses(clock, agent_runs),
            embeddings=EmbeddingsEndpoint(embedder),
            metrics=Scrape(self.metrics.registry),
            ready=Ready(lambda: self.failing, rules),
        )

    def _agent_runs(self, clock: IReactorTime) -> AgentRuns:
        gateway = self.settings.gateway
        return AgentRuns(
            self.runs.runner,
            self.directory,
            gateway,
            clock=clock,
            repeats=Repeats(
                clock,
                keep_seconds=gateway.limits.idempotency_seconds,
                max_kept=gateway.limits.max_idempotency_keys,
            ),
            timeout_seconds=self.settings.agents.defaults.timeout_seconds,
        )

    def _chat(self, clock: IReactorTime, runs: AgentRuns) -> ChatCompletions:
        limits = limits_of(self.settings.gateway.http.endpoints.chat_completions)
        images = ImageFetcher(clock, limits, may_connect=self.may_connect)
        return ChatCompletions(runs=runs, images=images, now=self.now)

    def _responses(self, clock: IReactorTime, runs: AgentRuns) -> Responses:
        limits = response_limits(self.settings.gateway.http.endpoints)
        return Responses(
            runs=runs,
            chain=ResponseChain(self.runs.store, self.runs.runner),
            references=ItemReferences(self.runs.store),
            images=ImageFetcher(clock, limits, may_connect=self.may_connect),
            now=self.now,
        )

    def now(self) -> float:
        """Return the time of every answer, in seconds since the epoch."""
        return 1_700_000_000.5

    def may_connect(self, address: IPAddress) -> bool:
        """Allow images from this machine alone: a test has nowhere else to fetch from."""
        return address.is_loopback

    def _doorkeeping(self, clock: IReactorTime) -> Doorkeeping:
        gateway = self.settings.gateway
        proxies = TrustedProxies(gateway.trusted_proxies)
        return Doorkeeping(
            hosts=HostRule(gateway.http.allowed_hosts, machine_name="test-machine"),
            origins=OriginRule("allowedOrigins", gateway.http.endpoints.chat_completions.allowed_origins),
            proxies=proxies,
            gate=Gate(
                gateway.auth,
                FailureLimiter(gateway.auth.rate_limit, clock.seconds),
                trusted_proxies=proxies,
                observe=lambda error: self.metrics.login_failed(error.code or error.kind),
            ),
        )

    async def stop(self) -> None:
        """Give the port back and drop every connection."""
        await maybeDeferred(self._port.stopListening)
        await self.site.drop_connections()


def _opened(token: str, settings: Mapping[str, Any]) -> Settings:
    """Return settings that let in who knows the token, with what is given laid over them."""
    endpoints = {"chatCompletions": {"enabled": True}, "responses": {"enabled": True}}
    ours = {
        "gateway": {"auth": {"token": token}, "http": {"endpoints": endpoints}},
        "agents": {"defaults": {"model": "scripted/m"}},
    }
    return parse(msgspec.json.encode(_merged(ours, settings)).decode(), {}).settings


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
