"""What the settings decide, put together: made anew, as a whole, each time they change.

What outlives a change is handed in (`Lasting`): the store, the runs, the local model, what is counted. The
rest is cheap to make, so there is one way to apply settings, at the start and later.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.web.resource import IResource

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.prompt import PromptSource
from openclaw_twisted.apart import Apart
from openclaw_twisted.auth.addresses import HostRule, OriginRule, TrustedProxies
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.auth.token_file import TokenFile, load_or_create_token
from openclaw_twisted.boundaries import Embedder, Provider, SessionStore
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import (
    AgentsSettings,
    LocalModelSettings,
    ModelChoice,
    ModelsSettings,
    Settings,
)
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.agent_runs import AgentRuns
from openclaw_twisted.http.app import Application
from openclaw_twisted.http.chat_completions import ChatCompletions, limits_of
from openclaw_twisted.http.endpoint import Endpoint, at_first_use
from openclaw_twisted.http.health import Ready
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.metrics import Scrape
from openclaw_twisted.http.response_limits import response_limits
from openclaw_twisted.http.routes import Endpoints, routes
from openclaw_twisted.metrics import Metrics
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.context_windows import ContextWindows
from openclaw_twisted.providers.failover import Failover, Then
from openclaw_twisted.providers.known_models import LOCAL
from openclaw_twisted.providers.local_models import LocalModels, embedding_name
from openclaw_twisted.providers.transport import way_out
from openclaw_twisted.runs.bus import LocalBus
from openclaw_twisted.runs.opening import SessionRules
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.runs.runner import Abilities, Runner
from openclaw_twisted.ws.behind import Behind

__all__ = ["Lasting", "Wiring"]

CHAT_ORIGINS = "gateway.http.endpoints.chatCompletions.allowedOrigins"
WEBSOCKET_ORIGINS = "gateway.controlUi.allowedOrigins"


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """What outlives every change of the settings.

    `local` are the models on this machine, `providers` are asked in addition to the configured ones,
    `failing` names what keeps the gateway from being ready.
    """

    reactor: Any
    home: Path
    state_dir: Path
    store: SessionStore
    bus: LocalBus
    local: LocalModels
    providers: Mapping[str, Provider]
    metrics: Metrics
    limiter: FailureLimiter
    repeats: Repeats
    failing: Callable[[], tuple[str, ...]]


class Wiring:
    """One configuration's agents, providers, rules and routes.

    Providers that `before` has with the same settings are taken over, with what is known of their keys and
    with their connections. Raises `ConfigError` for settings that contradict each other.
    """

    def __init__(self, loaded: Loaded, lasting: Lasting, *, before: Wiring | None = None) -> None:
        self.loaded = loaded
        self.settings = loaded.settings
        self._lasting = lasting
        self.token = _generated_token(loaded.settings, lasting.state_dir)
        agents = _with_default_model(loaded.settings, lasting.local.name)
        self.directory = Directory(agents, state_dir=lasting.state_dir, home=lasting.home)
        same = before is not None and _same_way_out(before.loaded, loaded)
        self.remote: Configured = before.remote if before is not None and same else self._configured()
        self.rules = self._doorkeeping()
        self.abilities = self._abilities(agents)

    def http(self, runner: Runner) -> tuple[IResource, Admission]:
        """Return what serves requests, and who decides which are served."""
        application = Application(routes(self.settings, self.directory, self._endpoints(runner)))
        return application.resource, Admission(self.rules, application.matcher, application.routes)

    def behind_websockets(self, runner: Runner) -> tuple[Behind, Doorkeeping]:
        """Return what WebSocket clients reach, and by which rules."""
        allowed = self.settings.gateway.control_ui.allowed_origins
        origins = OriginRule(WEBSOCKET_ORIGINS, allowed, strict=False)  # OpenClaw takes anything here
        behind = Behind(
            runner=runner,
            directory=self.directory,
            loaded=self.loaded,
            now=time.time,
            dropped=self._lasting.metrics.connection_dropped,
            is_well=lambda: not self._lasting.failing(),
        )
        return behind, dataclasses.replace(self.rules, origins=origins)

    def models_in_use(self) -> set[str]:
        """Return the models that the agents ask."""
        agents = (self.directory.named(agent_id) for agent_id in self.directory.ids)
        return {model for agent in agents for model in agent.candidates()}

    def _configured(self) -> Configured:
        return Configured(
            self._lasting.reactor,
            self.settings.models.providers,
            environ=self.loaded.environ,
            proxy_url=way_out(self.settings.proxy),
            observe=self._lasting.metrics.upstream_attempted,
        )

    def _abilities(self, agents: AgentsSettings) -> Abilities:
        lasting, session = self._lasting, self.settings.session
        everybody: dict[str, Provider] = {**self.remote.providers, **lasting.providers}
        if _offers_local(self.settings.models):
            everybody.setdefault(LOCAL, lasting.local.provider)
        catalog = Catalog(everybody, aliases=_aliases(agents))
        prompts = PromptSource(lasting.reactor.seconds)
        return Abilities(
            provider=Failover(catalog, lasting.reactor, observe=_counting(lasting.metrics, catalog)),
            prompt=lambda agent_id: prompts.text(self.directory.named(agent_id)),
            store=lasting.store,
            keep_stateless=session.stateless_retention_seconds > 0,
            rules=SessionRules(
                reset=session.reset,
                triggers=session.reset_triggers,
                context_tokens=ContextWindows(self.settings.models),
                params=lambda agent_id, model: self.directory.named(agent_id).params_for(model),
            ),
            bus=lasting.bus,
            apart=Apart(lasting.reactor),
        )

    def _embedder(self) -> Embedder | None:
        models = self.settings.models
        if models.embedding is None:
            return None
        if (name := embedding_name(models)) is not None:
            return self._lasting.local.embedder(name)
        return self.remote.embedder(models.embedding)

    def _doorkeeping(self) -> Doorkeeping:
        gateway, metrics = self.settings.gateway, self._lasting.metrics
        chat = gateway.http.endpoints.chat_completions
        proxies = TrustedProxies(gateway.trusted_proxies, real_ip=gateway.allow_real_ip_fallback)
        return Doorkeeping(
            hosts=HostRule(gateway.http.allowed_hosts, machine_name=socket.gethostname()),
            origins=OriginRule(CHAT_ORIGINS, chat.allowed_origins),
            proxies=proxies,
            gate=Gate(
                gateway.auth,
                self._lasting.limiter,
                generated_token=self.token.token if self.token else None,
                trusted_proxies=proxies,
                observe=lambda error: metrics.login_failed(_code(error)),
            ),
        )

    def _endpoints(self, runner: Runner) -> Endpoints:
        gateway, lasting = self.settings.gateway, self._lasting
        reactor = lasting.reactor
        runs = AgentRuns(
            runner,
            self.directory,
            gateway,
            clock=reactor,
            repeats=lasting.repeats,
            timeout_seconds=self.settings.agents.defaults.timeout_seconds,
        )
        images = ImageFetcher(reactor, response_limits(gateway.http.endpoints))
        return Endpoints(
            chat=ChatCompletions(
                runs=runs,
                images=ImageFetcher(reactor, limits_of(gateway.http.endpoints.chat_completions)),
                now=time.time,
            ),
            responses=at_first_use(partial(self._responses, runner, runs, images)),
            embeddings=at_first_use(partial(_embeddings, self._embedder())),
            metrics=Scrape(lasting.metrics.registry),
            ready=Ready(lasting.failing, self.rules),
        )

    def _responses(self, runner: Runner, runs: AgentRuns, images: ImageFetcher) -> Endpoint:
        from openclaw_twisted.http.item_references import ItemReferences
        from openclaw_twisted.http.response_chain import ResponseChain
        from openclaw_twisted.http.responses import Responses

        store = self._lasting.store
        return Responses(
            runs=runs,
            chain=ResponseChain(store, runner),
            references=ItemReferences(store),
            images=images,
            now=time.time,
        )


def _embeddings(embedder: Embedder | None) -> Endpoint:
    from openclaw_twisted.http.embeddings import EmbeddingsEndpoint

    return EmbeddingsEndpoint(embedder)


def _same_way_out(before: Loaded, after: Loaded) -> bool:
    old, new = before.settings, after.settings
    same = (old.models.providers, old.proxy) == (new.models.providers, new.proxy)
    return same and before.environ == after.environ


def _generated_token(settings: Settings, state_dir: Path) -> TokenFile | None:
    """Return a token of our own when mode `token` has none configured."""
    auth = settings.gateway.auth
    if auth.resolved_mode != "token" or auth.token is not None:
        return None
    return load_or_create_token(state_dir)


def _with_default_model(settings: Settings, local_name: str) -> AgentsSettings:
    """Return the agents with a model: theirs, else the first of a configured provider, else the local one."""
    defaults = settings.agents.defaults
    if defaults.model is not None:
        return settings.agents
    local = (f"{LOCAL}/{local_name}",) if _offers_local(settings.models) else ()
    listed = (
        f"{provider_id}/{model.id}"
        for provider_id, provider in settings.models.providers.items()
        for model in provider.models
    )
    first = next(chain(listed, local), None)
    choice = ModelChoice(first) if first is not None else None
    return replace(settings.agents, defaults=replace(defaults, model=choice))


def _offers_local(models: ModelsSettings) -> bool:
    # With `replace` the local model has to be configured, as any other.
    return models.mode != "replace" or models.local != LocalModelSettings()


def _counting(metrics: Metrics, catalog: Catalog) -> Callable[[str, GatewayError, Then], None]:
    """Return what counts a model's failure as its provider's."""

    def observe(model: str, error: GatewayError, then: Then) -> None:
        metrics.upstream_failed(catalog.provider_id(model) or "unknown", _code(error), then)

    return observe


def _code(error: GatewayError) -> str:
    return error.code or error.kind


def _aliases(agents: AgentsSettings) -> dict[str, str]:
    return {entry.alias: name for name, entry in agents.defaults.models.items() if entry.alias}
