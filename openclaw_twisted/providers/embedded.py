"""The local model: a process of its own that is fetched for, started, watched and stopped.

    idle --wanted--> fetching --fetched--> loading --ready--> ready
     ^                  |                     |                 |
     |<---not_fetched---'                     '--died--> resting <--died--'
     '------------------------rested---------------------'

`stop` leads from every state to stopped, by way of stopping where a process or a download has to end
first. A file that is there is "fetched" at once. A process that dies rests for 1, 2, 4 .. 30 seconds and
is started again if it was serving or somebody waits for it, else when it is next wanted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted.errors import GatewayError, ModelNotReadyError, NoProviderError
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.local_process import Engine, LocalProcess
from openclaw_twisted.providers.local_server import KEY_VARIABLE

__all__ = ["LocalEndpoint", "LocalModel"]

LOAD_WAIT_SECONDS: Final = 60.0
LOAD_LIMIT_SECONDS: Final = 600.0
MAX_REST_SECONDS: Final = 30.0
STABLE_SECONDS: Final = 60.0
# One death is waited out; from the second in a row on, callers are told.
REPEATED_DEATHS: Final = 2

_log = Logger()


class LocalEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model answers, the key that it asks for, and what it is called there."""

    base_url: str
    api_key: str
    model: str


class LocalModel:
    """The model that runs on this machine; nothing is fetched or loaded before somebody wants it."""

    supports_images = False

    def __init__(self, reactor: Any, fetching: Fetching, engine: Engine) -> None:
        self.name = fetching.weights.name
        self._fetching = fetching
        self._engine = engine
        self._core = _Core(reactor, fetching, engine)
        self._machine = _machine(self._core)

    @property
    def pid(self) -> int | None:
        """The process that serves the model, or None while there is none; for those who watch it."""
        return self._core.pid()

    def check(self) -> None:
        """Raise what is known to keep the model from answering within the time that a load takes.

        Raises `ModelNotReadyError` while its file is being fetched, after repeated deaths and while
        stopping; `NoProviderError` when the engine or the file is missing and cannot be had.
        """
        if self._core.endpoint is not None:
            return
        if not self._engine.installed():
            raise NoProviderError(
                f"The engine of the local model is not installed. {self._fetching.ways_out}"
            )
        obstacle = self._core.obstacle()
        if obstacle is not None:
            raise obstacle

    def warm_up(self) -> None:
        """Begin to fetch or load the model, without waiting for it."""
        try:
            self.check()
        except GatewayError as error:
            _log.warn("local model not started: {reason}", model=self.name, reason=error.message)
        else:
            self._machine.wanted()

    async def endpoint(self) -> LocalEndpoint:
        """Return where the model answers, after loading it if need be.

        Raises what `check` does, and `ModelNotReadyError` when loading takes more than a minute.
        Cancelling ends the waiting and not the model.
        """
        self.check()
        self._machine.wanted()
        self.check()  # a download may have begun
        return self._core.endpoint or await self._core.when_ready()

    async def stop(self) -> None:
        """Stop for good; returns when the process or the download is gone."""
        self._machine.stop()
        await self._core.when_stopped()


class _Inputs(Protocol):
    """What happens to the model."""

    def wanted(self) -> None: ...
    def fetched(self) -> None: ...
    def not_fetched(self) -> None: ...
    def ready(self, url: str) -> None: ...
    def died(self, words: str) -> None: ...
    def rested(self) -> None: ...
    def stop(self) -> None: ...


class _Core:
    """What the machine works on: a download, a process, a rest, and those who wait.

    `obstacle` tells, in the machine's present state, what keeps callers from an answer. It is no input of
    the machine because callers ask while the machine is at work, telling them something else.
    """

    def __init__(self, reactor: Any, fetching: Fetching, engine: Engine) -> None:
        self.endpoint: LocalEndpoint | None = None
        self.obstacle: Callable[[], GatewayError | None] = fetching.obstacle
        self._reactor = reactor
        self._name = fetching.weights.name
        self._fetching = fetching
        self._engine = engine
        self._key = ""
        self._began_at = 0.0
        self._process: LocalProcess | None = None
        self._load_limit: IDelayedCall | None = None
        self._resting: IDelayedCall | None = None
        self._ready_at: float | None = None
        self._deaths = 0
        self._last_words = ""
        self._waiters: list[Deferred[LocalEndpoint]] = []
        self._stopped: Deferred[None] = Deferred()

    def pid(self) -> int | None:
        """Return the id of the process that runs."""
        return self._process.transport.pid if self._process is not None else None

    def when_ready(self) -> Deferred[LocalEndpoint]:
        """Return the endpoint as soon as there is one, an error when there will be none soon."""
        waiter: Deferred[LocalEndpoint] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        slow = ModelNotReadyError(
            f"The local model {self._name} is still loading. Try again in a while.", retry_after_seconds=10
        )
        return waiter.addTimeout(LOAD_WAIT_SECONDS, self._reactor, onTimeoutCancel=lambda *_: Failure(slow))

    def when_stopped(self) -> Deferred[None]:
        """Return when everything is over."""
        waiter: Deferred[None] = Deferred()
        self._stopped.addCallback(lambda _: waiter.callback(None))
        return waiter

    def fetch(self, inputs: _Inputs) -> None:
        """Fetch the file, which may be done at once."""
        self.obstacle = self._fetching.progress
        self._fetching.start().addCallbacks(lambda _: inputs.fetched(), lambda _: inputs.not_fetched())

    def give_up(self) -> None:
        """Tell those who wait that the file cannot be had."""
        self.obstacle = self._fetching.obstacle
        self._fail_waiters(self.obstacle() or self._fetching.progress())

    def load(self, inputs: _Inputs) -> None:
        """Start the process."""
        self.obstacle = lambda: None
        self._key = secrets.token_urlsafe(32)
        self._began_at = self._reactor.seconds()
        self._process = process = LocalProcess(self._reactor, inputs)
        command, environ = self._engine.command, {**self._engine.environ, KEY_VARIABLE: self._key}
        try:
            self._reactor.spawnProcess(process, command[0], list(command), env=environ, path=None)
        except OSError as error:
            inputs.died(f"it could not be started: {error.strerror}")
        else:
            self._load_limit = self._reactor.callLater(LOAD_LIMIT_SECONDS, process.stop)

    def serve(self, url: str) -> None:
        """Let everybody know where the model answers."""
        self._end_load_limit()
        self._ready_at = self._reactor.seconds()
        seconds = self._ready_at - self._began_at
        _log.info("local model {model} ready after {seconds:.1f} s", model=self._name, seconds=seconds)
        self.endpoint = LocalEndpoint(base_url=f"{url}/v1", api_key=self._key, model=self._name)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self.endpoint)

    def rest(self, inputs: _Inputs, words: str) -> None:
        """Wait before the next start, longer after each death in a row."""
        self._end_load_limit()
        self.endpoint = self._process = None
        now = self._reactor.seconds()
        if self._ready_at is not None and now - self._ready_at >= STABLE_SECONDS:
            self._deaths = 0
        self._deaths += 1
        self._last_words = words
        seconds = min(2.0 ** (self._deaths - 1), MAX_REST_SECONDS)
        _log.warn("local model {model} died: {words}", model=self._name, words=words, rest_seconds=seconds)
        self._resting = self._reactor.callLater(seconds, inputs.rested)
        self.obstacle = self._death
        if (error := self._death()) is not None:
            self._fail_waiters(error)

    def rise(self, inputs: _Inputs) -> None:
        """Start again after a rest if somebody needs it."""
        self.obstacle = self._fetching.obstacle
        served, self._ready_at = self._ready_at is not None, None
        if served or self._waiters:
            inputs.wanted()

    def stop_process(self) -> None:
        """Ask the process to end."""
        assert self._process is not None
        self._end_load_limit()
        self._begin_to_stop()
        self._process.stop()

    def stop_fetching(self) -> None:
        """Ask the download to end."""
        self._begin_to_stop()
        self._fetching.cancel()

    def stop_resting(self) -> None:
        """Stop where nothing is running."""
        self._begin_to_stop()
        if self._resting is not None and self._resting.active():
            self._resting.cancel()
        self.end("it was not running")

    def end(self, words: str) -> None:
        """Tell that everything is over."""
        _log.info("local model {model} stopped: {words}", model=self._name, words=words)
        self.endpoint = self._process = None
        self._stopped.callback(None)

    def _death(self) -> ModelNotReadyError | None:
        if self._deaths < REPEATED_DEATHS:
            return None
        assert self._resting is not None
        return ModelNotReadyError(
            f"The local model {self._name} does not run: {self._last_words}",
            retry_after_seconds=max(1.0, self._resting.getTime() - self._reactor.seconds()),
        )

    def _begin_to_stop(self) -> None:
        self.endpoint = None
        self.obstacle = self._too_late
        self._fail_waiters(self._too_late())

    def _too_late(self) -> ModelNotReadyError:
        return ModelNotReadyError(f"The local model {self._name} is being stopped.")

    def _fail_waiters(self, error: GatewayError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(error)

    def _end_load_limit(self) -> None:
        if self._load_limit is not None and self._load_limit.active():
            self._load_limit.cancel()


def _build() -> Callable[[_Core], _Inputs]:
    builder = TypeMachineBuilder(_Inputs, _Core)
    idle, fetching = builder.state("idle"), builder.state("fetching")
    loading, ready = builder.state("loading"), builder.state("ready")
    resting = builder.state("resting")
    stopping, stopped = builder.state("stopping"), builder.state("stopped")

    idle.upon(_Inputs.wanted).to(fetching)(lambda inputs, core: core.fetch(inputs))
    fetching.upon(_Inputs.fetched).to(loading)(lambda inputs, core: core.load(inputs))
    fetching.upon(_Inputs.not_fetched).to(idle)(lambda _, core: core.give_up())
    loading.upon(_Inputs.ready).to(ready)(lambda _, core, url: core.serve(url))
    for state in (loading, ready):
        state.upon(_Inputs.died).to(resting)(lambda inputs, core, words: core.rest(inputs, words))
        state.upon(_Inputs.stop).to(stopping)(lambda _, core: core.stop_process())
    resting.upon(_Inputs.rested).to(idle)(lambda inputs, core: core.rise(inputs))

    fetching.upon(_Inputs.stop).to(stopping)(lambda _, core: core.stop_fetching())
    for state in (idle, resting):
        state.upon(_Inputs.stop).to(stopped)(lambda _, core: core.stop_resting())
    stopping.upon(_Inputs.died).to(stopped)(lambda _, core, words: core.end(words))
    stopping.upon(_Inputs.fetched).to(stopped)(lambda _, core: core.end("the download ended"))
    stopping.upon(_Inputs.not_fetched).to(stopped)(lambda _, core: core.end("the download ended"))

    for state in (fetching, loading, ready, resting, stopping, stopped):
        state.upon(_Inputs.wanted).loop().returns(None)
    for state in (stopping, stopped):
        state.upon(_Inputs.stop).loop().returns(None)
    stopping.upon(_Inputs.ready).loop().returns(None)
    return builder.build()


_machine = _build()
