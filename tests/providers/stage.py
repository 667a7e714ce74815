"""A stage for the local model: time, threads, processes and its download are played by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.providers.embedded import LocalEndpoint, LocalModel
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.known_models import KnownModel
from openclaw_twisted.providers.local_process import Engine, LocalProcess
from openclaw_twisted.providers.local_server import KEY_VARIABLE
from openclaw_twisted.providers.partial_file import PartialFile
from openclaw_twisted.providers.progress_bar import ProgressBar
from openclaw_twisted.providers.weight_sources import Progress
from openclaw_twisted.providers.weights import WeightsStore
from tests.providers.model_files import CONTENT, known_model

__all__ = ["URL", "Case", "Gate", "Played", "Stage"]

E = TypeVar("E", bound=Exception)

URL = "http://127.0.0.1:4711"


class Played:
    """A process that the test plays."""

    pid = 4711

    def __init__(self, protocol: LocalProcess, environ: Mapping[str, str]) -> None:
        self.protocol = protocol
        self.key = environ[KEY_VARIABLE]
        self.signals: list[str] = []
        self.over = False

    def signalProcess(self, signal: str) -> None:
        if self.over:
            raise ProcessExitedAlready
        self.signals.append(signal)

    def say(self, text: str) -> None:
        self.protocol.outReceived(text.encode())

    def ready(self) -> None:
        self.say(json.dumps({"ready": True, "url": URL, "pid": self.pid}) + "\n")

    def die(self, *stderr: str, status: int | None = 1, signal: int | None = None) -> None:
        self.over = True
        for text in stderr:
            self.protocol.errReceived(text.encode())
        end = ProcessTerminated(status, signal, None) if status or signal else ProcessDone(0)
        self.protocol.processEnded(Failure(end))


class Pool:
    """A thread pool that does its work at once."""

    def callInThreadWithCallback(
        self, told: Callable[[bool, Any], None], function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        told(True, function(*args, **kwargs))  # noqa: FBT003 - Twisted's own way to say it worked


class Stage(Clock):
    """A reactor whose time, threads and processes the test plays."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Played] = []
        self.refuses = False

    def getThreadPool(self) -> Pool:
        return Pool()

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        function(*args)

    def spawnProcess(
        self, protocol: Any, executable: str, args: Sequence[str], *, env: Mapping[str, str], path: None
    ) -> None:
        if self.refuses:
            raise OSError(11, "Resource temporarily unavailable")
        played = Played(protocol, env)
        self.started.append(played)
        protocol.makeConnection(played)


class Gate:
    """A source that waits for the test."""

    def __init__(self) -> None:
        self.asked = 0
        self.open()

    def open(self) -> None:
        self.opened: Deferred[None] = Deferred()

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        self.asked += 1
        self.progress = progress
        await self.opened
        await file.keep(0)
        await file.append(CONTENT)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Case(SynchronousTestCase):
    """A model whose file is there."""

    installed = True

    def setUp(self) -> None:
        self.stage = Stage()
        self.state = Path(self.mktemp()).absolute()
        self.gate = Gate()
        self.model = self.make()
        self.fetch()

    def fetch(self) -> None:
        self.gate.opened.callback(None)
        self.successResultOf(
            Deferred.fromCoroutine(self.store.pull(self.store.known("tiny"), lambda *_: None))
        )

    def make(self, **settings: Any) -> LocalModel:
        model = known_model()
        self.store = WeightsStore(self.stage, self.state, sources=[self.gate], models={"tiny": model})
        weights = self.store.resolve(LocalModelSettings(**{"model": "tiny"} | settings))
        self.out = Terminal()
        fetching = Fetching(
            self.stage, self.store, weights, may_fetch=self.may_fetch, bar=ProgressBar(self.out)
        )
        engine = Engine(command=("serve",), environ={}, installed=lambda: self.installed)
        return LocalModel(self.stage, fetching, engine)

    may_fetch = True

    def ask(self) -> Deferred[LocalEndpoint]:
        return Deferred.fromCoroutine(self.model.endpoint())

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.model.stop())

    @property
    def process(self) -> Played:
        return self.stage.started[-1]

    def refused(self, kind: type[E]) -> E:
        return self.assertRaises(kind, self.model.check)  # type: ignore[no-any-return]
