"""The composition root: the one module that knows every part that lasts, and starts and stops them.

What starts, in order: the store (so that nothing is answered that could not be kept), the port, and in
the background the local model. What stops: the port first, then runs may finish, then clients are told,
then the parts close. A start that fails says why in one line, and the process ends with the exit code
that docs/operations lists. What depends on the settings is made by `wiring`, and made again when they change.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.copyright import version as twisted_version
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from openclaw_twisted import __version__, listening
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.device_tokens import DeviceTokens, device_tokens_path
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.boundaries import Provider
from openclaw_twisted.certificate import Certificate
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.reload import change, must_still_be_there
from openclaw_twisted.config.secret import secrets_in
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.config.watcher import Look, Watcher, look_at
from openclaw_twisted.descriptors import most_connections
from openclaw_twisted.errors import ConfigError, StorageError
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.logs.observer import Journal
from openclaw_twisted.loop_lag import LoopLag
from openclaw_twisted.metrics import Metrics
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.known_models import LOCAL
from openclaw_twisted.providers.local_models import LocalModels
from openclaw_twisted.runs.bus import LocalBus
from openclaw_twisted.runs.lanes import Lanes
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.runs.upkeep import Upkeep
from openclaw_twisted.sessions.sqlite import SqliteStore
from openclaw_twisted.sessions.turns import ClaimLimits
from openclaw_twisted.site import GatewaySite
from openclaw_twisted.welcome import welcome
from openclaw_twisted.wiring import Lasting, Wiring
from openclaw_twisted.ws.entrance import WebSocketEntrance

__all__ = ["EXIT_CONFIG", "EXIT_DEFECT", "EXIT_PORT", "EXIT_STORAGE", "Gateway"]

EXIT_PORT = 69
"""The port is taken or may not be used (EX_UNAVAILABLE of sysexits.h)."""
EXIT_DEFECT = 70
"""A defect of ours (EX_SOFTWARE)."""
EXIT_STORAGE = 74
"""The state directory or its database cannot be used (EX_IOERR)."""
EXIT_CONFIG = 78
"""The configuration cannot be used (EX_CONFIG)."""

FLUSH_SECONDS = 0.1

_VERSIONS = {"version": __version__, "twisted": twisted_version}


class Gateway(Service):
    """The whole gateway as one service.

    `out` is where people look (the terminal), `leave` ends the process with an exit code, `load` reads the
    configuration again (raising `ConfigError`), `providers` are asked in addition to the configured ones,
    `journal` takes twistd's log.
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
        load: Callable[[], Loaded] | None = None,
        providers: Mapping[str, Provider] | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._reactor = reactor
        self._journal = journal
        self._load = load
        self._out = out
        self._leave = leave
        self._starting: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        settings = loaded.settings
        self._store = SqliteStore(reactor, state_dir / "sessions.sqlite3", claims=_claims(settings))
        self._local = LocalModels(reactor, loaded, state_dir, out=out)
        self.metrics = Metrics(versions=_VERSIONS)
        self._lag = LoopLag(reactor, self.metrics.loop_late)
        limits = settings.gateway.limits
        self._lasting = Lasting(
            reactor=reactor,
            home=home,
            state_dir=state_dir,
            store=self._store,
            bus=LocalBus(),
            local=self._local,
            providers=providers or {},
            metrics=self.metrics,
            limiter=FailureLimiter(settings.gateway.auth.rate_limit, reactor.seconds),
            repeats=Repeats(
                reactor, keep_seconds=limits.idempotency_seconds, max_kept=limits.max_idempotency_keys
            ),
            failing=self._failing,
        )
        self._wiring = Wiring(loaded, self._lasting)
        self._retired: list[Configured] = []
        self._lanes = Lanes()
        self.runner = Runner(
            reactor, self._wiring.abilities, self._lanes, now=time.time, observe=self.metrics.run_ended
        )
        self.upkeep = Upkeep(reactor, self._store, settings.session, active=self.runner.active, now=time.time)
        self._websockets, self._site = self._make_doors(state_dir)
        self._take(self._wiring)
        self._have_counted()
        tls = settings.gateway.tls
        self._certificate = Certificate(tls) if tls.enabled else None
        self._endpoint = listening.endpoint_for(reactor, settings.gateway, self._certificate)
        self._reloading = DeferredLock()
        self._watcher = Watcher(reactor, self.reload, look=self._look)
        self._read_as: Look | None = look_at(self._watched)

    def _have_counted(self) -> None:
        self.metrics.watch(
            runs_running=lambda: self.runner.running,
            runs_waiting=lambda: self.runner.waiting,
            http_connections=lambda: self._site.connections,
            websocket_connections=lambda: self._websockets.connections,
        )

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
        self._starting.addCallback(waiter.callback)
        return waiter

    @property
    def directory(self) -> Directory:
        """The agents."""
        return self._wiring.directory

    @property
    def _settings(self) -> Settings:
        return self._wiring.settings

    async def reload(self) -> None:
        """Read the configuration again and go on with it; one that cannot be used changes nothing.

        Log files that somebody has renamed are left to them, and a certificate that was renewed is used.
        """
        if self._journal is not None:
            self._journal.reopen()
        if self._certificate is not None:
            self._certificate.read_again()
        if self._load is not None:
            await self._reloading.run(lambda: Deferred.fromCoroutine(self._read_again()))

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
                token_file=token.path if (token := self._wiring.token) else None,
                config=self._wiring.loaded.path,
                endpoints=self._settings.gateway.http.endpoints,
            )
        )
        self._watch()
        self._warm_up()

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
        await self._local.stop()
        self._watcher.stop()
        for remote in (*self._retired, self._wiring.remote):
            await remote.close()
        await self._store.close()
        # After the last write of the last answer its bytes are still in Twisted's hands for a moment.
        await deferLater(self._reactor, FLUSH_SECONDS)
        await self._site.drop_connections()

    def _give_up(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        code, why = EXIT_DEFECT, f"The gateway could not start: {failure.getErrorMessage()}"
        if isinstance(failure.value, CannotListenError):
            code, why = EXIT_PORT, listening.refusal(failure.value)
        elif failure.check(StorageError):
            code, why = EXIT_STORAGE, str(failure.value)
        else:
            self._log.failure("the start failed", failure=failure)
        self._log.critical("{why}", why=why)
        self._say(f"openclaw-gateway: {why}\n")
        self._leave(code)

    def _say(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a reader who is gone, or a full disk: the log has it, too
            self._out.write(text)
            self._out.flush()

    def _warm_up(self) -> None:
        if any(model.startswith(f"{LOCAL}/") for model in self._wiring.models_in_use()):
            self._local.chat.warm_up()

    def _watch(self) -> None:
        if self._load is None or self._settings.gateway.reload.mode == "off":
            self._watcher.stop()
        else:
            self._watcher.watch(self._watched, self._read_as)

    @property
    def _watched(self) -> tuple[Path, ...]:
        """The files that are read again when they have changed."""
        certificate = self._certificate.files if self._certificate is not None else ()
        return (*self._wiring.loaded.watched, *certificate)

    def _look(self, files: tuple[Path, ...]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), look_at, files)

    async def _read_again(self) -> None:
        """Read the configuration and apply what can be applied; one that cannot be used changes nothing."""
        load, files = self._load, self._watched
        assert load is not None

        def read() -> tuple[Look, Loaded]:
            return look_at(files), load()  # in this order: what is changed meanwhile is to be read again

        try:
            read_as, loaded = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), read)
            must_still_be_there(self._wiring.loaded, loaded)
            changed = change(self._settings, loaded.settings)
            going_on = dataclasses.replace(loaded, settings=changed.settings)
            wiring = Wiring(going_on, self._lasting, before=self._wiring)
            http = wiring.http(self.runner)
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("the new configuration cannot be used: {problem}", problem=str(problem))
            return
        for warning in loaded.warnings:
            self._log.warn("{warning}", warning=str(warning))
        if changed.waiting:
            keys = ", ".join(changed.waiting)
            self._log.warn("a restart is needed for {keys}; until then the old values hold", keys=keys)
        same_files = loaded.watched == self._wiring.loaded.watched
        self._read_as = read_as if same_files else None
        self._switch(wiring, http)
        keys = ", ".join(changed.applied) or "no change"
        self._log.info("the configuration was read again: {keys}", keys=keys)

    def _switch(self, wiring: Wiring, http: tuple[IResource, Admission]) -> None:
        """Go on with another wiring, in one step: what begins from now on meets nothing of the old one."""
        before, self._wiring = self._wiring, wiring
        self._take(wiring)
        self.runner.take(wiring.abilities)
        self._site.take(*http, wiring.settings.gateway)
        behind, rules = wiring.behind_websockets(self.runner)
        self._websockets.take(behind, rules)
        if rules.gate.secret_digest != before.rules.gate.secret_digest:
            self._websockets.secret_changed(rules.gate.secret_digest)
        if wiring.remote is not before.remote:
            before.remote.retire()
            self._retired = [remote for remote in (*self._retired, before.remote) if remote.connections]
        self._watch()
        self._warm_up()

    def _take(self, wiring: Wiring) -> None:
        """Give what lasts the settings that it has of its own."""
        settings = wiring.settings
        limits = settings.gateway.limits
        self._lanes.limit(
            max_concurrent=settings.agents.defaults.max_concurrent,
            max_waiting=limits.max_queued_runs,
            max_waiting_in_lane=limits.max_queued_runs_per_session,
        )
        self._lasting.limiter.settings = settings.gateway.auth.rate_limit
        self.upkeep.settings = settings.session
        self.metrics.name_agents(wiring.directory.ids)
        self.metrics.watch_keys(wiring.remote.providers, wiring.remote.standing)
        if self._journal is not None:
            own = [wiring.token.token] if wiring.token else []
            self._journal.reconfigure(settings.logging, secrets_in([settings, *own]))

    def _make_doors(self, state_dir: Path) -> tuple[WebSocketEntrance, GatewaySite]:
        behind, rules = self._wiring.behind_websockets(self.runner)
        websockets = WebSocketEntrance(
            self._reactor,
            behind=behind,
            rules=rules,
            tokens=DeviceTokens(device_tokens_path(state_dir), rules.gate.secret_digest),
            host=socket.gethostname(),
        )
        http, admission = self._wiring.http(self.runner)
        site = GatewaySite(
            http=http,
            websocket=websockets.resource,
            admission=admission,
            clock=self._reactor,
            settings=self._settings.gateway,
            websockets=lambda: websockets.connections,
            observe=self.metrics.http_answered,
            dropped=self.metrics.connection_dropped,
            most_connections=self._most_connections(),
        )
        return websockets, site

    def _most_connections(self) -> int | None:
        """Return how many connections the limit of open files allows; None when there is no limit."""
        files, _ = getrlimit(RLIMIT_NOFILE)
        if files == RLIM_INFINITY:
            return None
        most = most_connections(files, self._settings.agents.defaults.max_concurrent)
        allowed = self._settings.gateway.limits.max_connections
        if most < allowed:
            self._log.warn(
                "at most {most} connections are kept open instead of {allowed}, because this process may "
                "have only {files} files open; raise that (LimitNOFILE=, ulimit -n)",
                most=most,
                allowed=allowed,
                files=files,
            )
        return most

    def _failing(self) -> tuple[str, ...]:
        # The port opens after the store and closes first, so what can be reached can be answered.
        if self._port is None:
            return ("stopping",)
        return () if self._store.disk_works else ("disk",)


def _claims(settings: Settings) -> ClaimLimits:
    limits = settings.gateway.limits
    return ClaimLimits(limits.idempotency_seconds, limits.max_idempotency_keys)
