"""The composition root: the one module that knows every class and puts them together.

What starts, in order: the store (so that nothing is answered that could not be kept), the port, and in
the background the local model. What stops: the port first, then runs may finish, then clients are told,
then the parts close. A start that fails says why in one line, and the process ends with the exit code
that docs/operations lists.
"""

from __future__ import annotations

import dataclasses
import socket
import sys
import time
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from msgspec.structs import replace
from twisted.application.service import Service
from twisted.copyright import version as twisted_version
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from openclaw_twisted import __version__, listening
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.prompt import PromptSource
from openclaw_twisted.auth.addresses import HostRule, OriginRule, TrustedProxies
from openclaw_twisted.auth.device_tokens import DeviceTokens, device_tokens_path
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.auth.token_file import TokenFile, load_or_create_token
from openclaw_twisted.boundaries import Provider
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import (
    AgentsSettings,
    LocalModelSettings,
    ModelChoice,
    ModelsSettings,
    Settings,
)
from openclaw_twisted.errors import GatewayError, StorageError
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.agent_runs import AgentRuns
from openclaw_twisted.http.app import Application
from openclaw_twisted.http.chat_completions import ChatCompletions, limits_of
from openclaw_twisted.http.embeddings import EmbeddingsEndpoint
from openclaw_twisted.http.health import Ready
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.item_references import ItemReferences
from openclaw_twisted.http.metrics import Scrape
from openclaw_twisted.http.response_chain import ResponseChain
from openclaw_twisted.http.responses import Responses, response_limits
from openclaw_twisted.http.routes import Endpoints, routes
from openclaw_twisted.logs.observer import Journal
from openclaw_twisted.loop_lag import LoopLag
from openclaw_twisted.metrics import Metrics
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.context_windows import ContextWindows
from openclaw_twisted.providers.embedded import LocalModel
from openclaw_twisted.providers.failover import Failover, Then
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.local import LOCAL, Local
from openclaw_twisted.providers.local_process import llama_engine
from openclaw_twisted.providers.progress_bar import ProgressBar
from openclaw_twisted.providers.transport import way_out
from openclaw_twisted.providers.weight_sources import sources_of
from openclaw_twisted.providers.weights import WeightsStore
from openclaw_twisted.runs.bus import LocalBus
from openclaw_twisted.runs.lanes import Lanes
from openclaw_twisted.runs.opening import SessionRules
from openclaw_twisted.runs.runner import Abilities, Runner
from openclaw_twisted.runs.upkeep import Upkeep
from openclaw_twisted.sessions.sqlite import SqliteStore
from openclaw_twisted.sessions.turns import ClaimLimits
from openclaw_twisted.site import GatewaySite
from openclaw_twisted.welcome import welcome
from openclaw_twisted.ws.door import WebSocketDoor
from openclaw_twisted.ws.families import Behind

__all__ = ["EXIT_CONFIG", "EXIT_DEFECT", "EXIT_PORT", "EXIT_STORAGE", "Gateway"]

EXIT_PORT = 69
"""The port is taken or may not be used (EX_UNAVAILABLE of sysexits.h)."""
EXIT_DEFECT = 70
"""A defect of ours (EX_SOFTWARE)."""
EXIT_STORAGE = 74
"""The state directory or its database cannot be used (EX_IOERR)."""
EXIT_CONFIG = 78
"""The configuration cannot be used (EX_CONFIG)."""

CHAT_ORIGINS = "gateway.http.endpoints.chatCompletions.allowedOrigins"
WEBSOCKET_ORIGINS = "gateway.controlUi.allowedOrigins"
FLUSH_SECONDS = 0.1

_VERSIONS = {"version": __version__, "twisted": twisted_version}


class Gateway(Service):
    """The whole gateway as one service.

    `out` is where people look (the terminal), `leave` ends the process with an exit code, `providers`
    are asked in addition to the configured ones, `journal` takes twistd's log.
    """

    _log = Logger()

    def __init__(  # noqa: PLR0913 - what the composition root is given cannot come from anywhere else
        self,
        reactor: Any,
        loaded: Loaded,
        *,
        state_dir: Path,
        home: Path,
        out: TextIO,
        leave: Callable[[int], object],
        providers: Mapping[str, Provider] | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._reactor = reactor
        self._journal = journal
        self._loaded = loaded
        self._state_dir = state_dir
        self._settings = loaded.settings
        self._config = loaded.path
        self._out = out
        self._leave = leave
        self._starting: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        self._token = _generated_token(loaded.settings, state_dir)
        self._store = SqliteStore(reactor, state_dir / "sessions.sqlite3", claims=_claims(loaded.settings))
        self._model = _local_model(reactor, loaded, state_dir, ProgressBar(out))
        agents = _with_default_model(loaded.settings, self._model.name)
        self.directory = Directory(agents, state_dir=state_dir, home=home)
        self.metrics = Metrics(agents=self.directory.ids, versions=_VERSIONS)
        self._lag = LoopLag(reactor, self.metrics.loop_late)
        self._remote = Configured(
            reactor,
            loaded.settings.models.providers,
            environ=loaded.environ,
            proxy_url=way_out(loaded.settings.proxy),
            observe=self.metrics.upstream_attempted,
        )
        self.metrics.watch_keys(self._remote.providers, self._remote.standing)
        everybody: dict[str, Provider] = {**self._remote.providers, **(providers or {})}
        if _offers_local(loaded.settings.models):
            everybody.setdefault(LOCAL, Local(reactor, self._model, loaded.settings.models.local))
        catalog = Catalog(everybody, aliases=_aliases(agents))
        self.bus = LocalBus()
        self.runner = self._make_runner(Failover(catalog, reactor, observe=_counting(self.metrics, catalog)))
        self.upkeep = Upkeep(
            reactor, self._store, loaded.settings.session, active=self.runner.active, now=time.time
        )
        self._websockets, self._site = self._make_doors()
        self.metrics.watch(
            runs_running=lambda: self.runner.running,
            runs_waiting=lambda: self.runner.waiting,
            http_connections=lambda: self._site.connections,
            websocket_connections=lambda: self._websockets.connections,
        )
        self._endpoint = listening.endpoint_for(reactor, loaded.settings.gateway)

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802
        """Join the application, and bring the log that twistd is to use."""
        if self._journal is not None:
            parent.setComponent(ILogObserver, self._journal)
        super().setServiceParent(parent)

    def startService(self) -> None:  # noqa: N802
        """Begin to start; `started` tells when the gateway answers."""
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._give_up)

    def stopService(self) -> Deferred[None]:  # noqa: N802
        """Stop taking requests, let runs finish within the drain budget, then close everything."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def started(self) -> Deferred[None]:
        """Wait until the gateway answers, or has said why it cannot."""
        assert self._starting is not None
        waiter: Deferred[None] = Deferred()
        self._starting.addCallback(_pass_on, waiter)
        return waiter

    @property
    def base_url(self) -> str:
        """The address in use, without a path."""
        assert self._port is not None
        gateway = self._settings.gateway
        host = listening.shown(listening.address_of(gateway))
        scheme = "https" if gateway.tls.enabled else "http"
        return f"{scheme}://{host}:{self._port.getHost().port}"  # type: ignore[attr-defined]

    async def _start(self) -> None:
        await self._store.open()
        self._port = await self._endpoint.listen(self._site)
        self._lag.start()
        self.upkeep.start()
        self._log.info("ready at {base_url}", base_url=self.base_url)
        self._say(
            welcome(
                base_url=self.base_url,
                auth_mode=self._settings.gateway.auth.resolved_mode,
                token_file=self._token.path if self._token else None,
                config=self._config,
                endpoints=self._settings.gateway.http.endpoints,
            )
        )
        if any(model.startswith(f"{LOCAL}/") for model in self._models_in_use()):
            self._model.warm_up()

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        self._websockets.stop_accepting()
        await self.runner.drain(self._settings.gateway.shutdown.drain_seconds)
        await self._websockets.close_all()
        self._lag.stop()
        self.upkeep.stop()
        await self._model.stop()
        await self._remote.close()
        await self._store.close()
        # After the last write of the last answer its bytes are still in Twisted's hands for a moment.
        await deferLater(self._reactor, FLUSH_SECONDS)
        await self._site.drop_connections()

    def _give_up(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        code, why = EXIT_DEFECT, f"The gateway could not start: {failure.getErrorMessage()}"
        if failure.check(CannotListenError):
            gateway = self._settings.gateway
            place = f"{listening.address_of(gateway)} port {gateway.port}"
            code, why = EXIT_PORT, f"Cannot listen on {place}. Stop what uses it, or set gateway.port."
        elif failure.check(StorageError):
            code, why = EXIT_STORAGE, str(failure.value)
        else:
            self._log.failure("the start failed", failure=failure)
        self._log.critical("{why}", why=why)
        self._say(f"openclaw-gateway: {why}\n")
        self._leave(code)

    def _say(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _models_in_use(self) -> set[str]:
        agents = (self.directory.named(agent_id) for agent_id in self.directory.ids)
        return {model for agent in agents for model in agent.candidates()}

    def _make_runner(self, provider: Provider) -> Runner:
        settings = self._settings
        limits = settings.gateway.limits
        prompts = PromptSource(self._reactor.seconds)
        abilities = Abilities(
            provider=provider,
            prompt=lambda agent_id: prompts.text(self.directory.named(agent_id)),
            store=self._store,
            keep_stateless=settings.session.stateless_retention_seconds > 0,
            rules=SessionRules(
                reset=settings.session.reset,
                triggers=settings.session.reset_triggers,
                context_tokens=ContextWindows(settings.models),
                params=lambda agent_id, model: self.directory.named(agent_id).params_for(model),
            ),
            bus=self.bus,
        )
        lanes = Lanes(
            max_concurrent=settings.agents.defaults.max_concurrent,
            max_waiting=limits.max_queued_runs,
            max_waiting_in_lane=limits.max_queued_runs_per_session,
        )
        return Runner(self._reactor, abilities, lanes=lanes, now=time.time, observe=self.metrics.run_ended)

    def _doorkeeping(self) -> Doorkeeping:
        gateway = self._settings.gateway
        chat = gateway.http.endpoints.chat_completions
        proxies = TrustedProxies(gateway.trusted_proxies, real_ip=gateway.allow_real_ip_fallback)
        limiter = FailureLimiter(gateway.auth.rate_limit, self._reactor.seconds)
        token = self._token.token if self._token else None
        return Doorkeeping(
            hosts=HostRule(gateway.http.allowed_hosts, machine_name=socket.gethostname()),
            origins=OriginRule(CHAT_ORIGINS, chat.allowed_origins),
            proxies=proxies,
            gate=Gate(
                gateway.auth,
                limiter,
                generated_token=token,
                trusted_proxies=proxies,
                observe=lambda error: self.metrics.login_failed(_code(error)),
            ),
        )

    def _make_doors(self) -> tuple[WebSocketDoor, GatewaySite]:
        gateway = self._settings.gateway
        http = self._doorkeeping()
        rules = dataclasses.replace(
            http, origins=OriginRule(WEBSOCKET_ORIGINS, gateway.control_ui.allowed_origins)
        )
        websockets = WebSocketDoor(
            self._reactor,
            behind=Behind(runner=self.runner, directory=self.directory, loaded=self._loaded, now=time.time),
            rules=rules,
            tokens=DeviceTokens(device_tokens_path(self._state_dir), http.gate.secret_digest),
            host=socket.gethostname(),
        )
        runs = AgentRuns(
            self.runner,
            self.directory,
            gateway,
            clock=self._reactor,
            timeout_seconds=self._settings.agents.defaults.timeout_seconds,
        )
        model = self._settings.models.embedding
        endpoints = Endpoints(
            chat=ChatCompletions(
                runs=runs,
                images=ImageFetcher(self._reactor, limits_of(gateway.http.endpoints.chat_completions)),
                now=time.time,
            ),
            responses=Responses(
                runs=runs,
                chain=ResponseChain(self._store, self.runner),
                references=ItemReferences(self._store),
                images=ImageFetcher(self._reactor, response_limits(gateway.http.endpoints)),
                now=time.time,
            ),
            embeddings=EmbeddingsEndpoint(self._remote.embedder(model) if model else None),
            metrics=Scrape(self.metrics.registry),
            ready=Ready(self._failing, http),
        )
        application = Application(routes(self._settings, self.directory, endpoints))
        site = GatewaySite(
            http=application.resource,
            websocket=websockets.resource,
            admission=Admission(http, application.matcher, application.routes),
            clock=self._reactor,
            settings=gateway,
            websockets=lambda: websockets.connections,
            observe=self.metrics.http_answered,
            dropped=self.metrics.connection_dropped,
        )
        return websockets, site

    def _failing(self) -> tuple[str, ...]:
        # The port opens after the store and closes first, so what can be reached can be answered.
        return () if self._port is not None else ("stopping",)


def _pass_on(result: None, waiter: Deferred[None]) -> None:
    waiter.callback(result)


def _generated_token(settings: Settings, state_dir: Path) -> TokenFile | None:
    """Return a token of our own when mode `token` has none configured."""
    auth = settings.gateway.auth
    if auth.resolved_mode != "token" or auth.token is not None:
        return None
    return load_or_create_token(state_dir)


def _claims(settings: Settings) -> ClaimLimits:
    limits = settings.gateway.limits
    return ClaimLimits(limits.idempotency_seconds, limits.max_idempotency_keys)


def _local_model(reactor: Any, loaded: Loaded, state_dir: Path, bar: ProgressBar) -> LocalModel:
    sources = sources_of(reactor, loaded.environ, sys.executable, way_out(loaded.settings.proxy))
    store = WeightsStore(reactor, state_dir, sources=sources)
    settings = loaded.settings.models.local
    weights = store.resolve(settings)
    fetching = Fetching(reactor, store, weights, may_fetch=True, bar=bar)
    return LocalModel(reactor, fetching, llama_engine(weights, settings, loaded.environ))


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
