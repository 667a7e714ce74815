"""The local model with real processes: a small program stands in for the engine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.internet.task import Clock
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

import openclaw_twisted
from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.errors import ModelNotReadyError
from openclaw_twisted.providers.embedded import LocalModel
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.local_process import Engine, embedding_engine, llama_engine
from openclaw_twisted.providers.weights import Weights, WeightsStore
from openclaw_twisted.testing import real_reactor

# It keeps a connection to the test, which therefore hears when it starts and when it is gone.
ENGINE = """
import json, os, signal, socket, sys
how = sys.argv[2]
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.sendall(b"%d\\r\\n" % os.getpid())
if how == "broken":
    sys.exit("there is no such layer")
print(json.dumps({"ready": True, "url": "http://127.0.0.1:1", "pid": os.getpid()}), flush=True)
sys.stdin.read()
"""

# A gateway in small: it starts the model, and is then killed by the test.
PARENT = """
import json, sys
from pathlib import Path
from twisted.internet import reactor, task
from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.providers.embedded import LocalModel
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.local_process import Engine, llama_engine
from openclaw_twisted.providers.weights import WeightsStore
file, *command = sys.argv[1:]
store = WeightsStore(reactor, Path("."), sources=())
weights = store.resolve(LocalModelSettings(path=file))
engine = Engine(command=tuple(command), environ={}, installed=lambda: True)
fetching = Fetching(reactor, store, weights, may_fetch=False, bar=None)
LocalModel(reactor, fetching, engine).warm_up()
reactor.run()
"""


class Line(LineReceiver):
    """The connection of one engine process."""

    pid = 0

    def __init__(self, told: ProcessWatch) -> None:
        self._told = told
        self.gone: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        self.pid = int(line)
        self._told.came(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(None)


class ProcessWatch(Factory):
    """Hears of every engine process that starts."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._waiters: list[Deferred[Line]] = []

    def buildProtocol(self, address: object) -> Line:
        self.lines.append(Line(self))
        return self.lines[-1]

    def came(self, line: Line) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(line)

    def next(self) -> Deferred[Line]:
        waiter: Deferred[Line] = Deferred()
        self._waiters.append(waiter)
        return waiter


class Parent(ProcessProtocol):
    """The gateway in small."""

    def __init__(self) -> None:
        self.said = b""
        self.ended: Deferred[None] = Deferred()

    def errReceived(self, data: bytes) -> None:
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class ProcessTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.watch = ProcessWatch()
        self.port = real_reactor().listenTCP(0, self.watch, interface="127.0.0.1")
        self.addCleanup(self.end)
        self.file = Path(self.mktemp()).absolute()
        self.file.write_bytes(b"GGUF")
        self.models: list[LocalModel] = []

    async def end(self) -> None:
        for model in self.models:
            await model.stop()
        for line in self.watch.lines:
            await line.gone
        await self.port.stopListening()

    def command(self, how: str) -> tuple[str, ...]:
        return (sys.executable, "-c", ENGINE, str(self.port.getHost().port), how)

    def model(self, how: str = "good") -> LocalModel:
        reactor = real_reactor()
        store = WeightsStore(reactor, Path(self.mktemp()), sources=())
        weights = store.resolve(LocalModelSettings(path=str(self.file)))
        engine = Engine(command=self.command(how), environ={}, installed=lambda: True)
        model = LocalModel(reactor, Fetching(reactor, store, weights, may_fetch=False, bar=None), engine)
        self.models.append(model)
        return model

    async def test_a_process_is_started_and_stopped(self) -> None:
        model, came = self.model(), self.watch.next()
        endpoint = await model.endpoint()
        self.assertEqual(endpoint.base_url, "http://127.0.0.1:1/v1")
        line = await came
        self.assertEqual(model.pid, line.pid)
        await model.stop()
        await line.gone
        self.assertIsNone(model.pid)

    async def test_a_killed_process_is_started_again(self) -> None:
        model, came = self.model(), self.watch.next()
        first = await model.endpoint()
        line, again = await came, self.watch.next()
        os.kill(line.pid, signal.SIGKILL)
        await line.gone
        await again
        second = await model.endpoint()
        self.assertNotEqual(first.api_key, second.api_key)
        self.assertEqual(len(self.watch.lines), 2)

    async def test_a_process_that_will_not_run_is_explained(self) -> None:
        model = self.model("broken")
        try:
            await model.endpoint()
        except ModelNotReadyError as error:
            self.assertIn("it ended with status 1: there is no such layer", error.message)
        else:
            self.fail("it was ready")

    async def test_a_process_that_ignores_sigterm_is_killed(self) -> None:
        model, came = self.model("stubborn"), self.watch.next()
        await model.endpoint()
        await model.stop()
        await (await came).gone

    async def test_no_process_outlives_a_gateway_that_was_killed(self) -> None:
        came = self.watch.next()
        parent = Parent()
        root = str(Path(openclaw_twisted.__file__).parent.parent)
        argv = [sys.executable, "-c", PARENT, str(self.file), *self.command("good")]
        process = real_reactor().spawnProcess(parent, argv[0], argv, env={"PYTHONPATH": root})

        def told(_: None) -> None:
            if not came.called:
                came.errback(AssertionError(parent.said.decode()))

        parent.ended.addCallback(told)
        line = await came
        process.signalProcess("KILL")
        await parent.ended
        await line.gone


class EngineTests(SynchronousTestCase):
    def test_the_command_and_its_environment(self) -> None:
        environ = {"PATH": "/bin", "OPENAI_API_KEY": "sk-secret", "OMP_NUM_THREADS": "3", "LC_ALL": "C"}
        settings = LocalModelSettings(context_tokens=4096, parallel=3, threads=5)
        weights = Weights(name="mine", path=Path("/models/mine.gguf"))
        engine = llama_engine(weights, settings, environ)
        self.assertEqual(engine.command[:2], (sys.executable, "-P"))
        words = " ".join(engine.command[3:])
        self.assertEqual(
            words,
            "/models/mine.gguf --alias mine --context 4096 --parallel 3 --threads 5 --cache-mib 256",
        )
        self.assertEqual(
            engine.environ,
            {"PATH": "/bin", "OMP_NUM_THREADS": "3", "LC_ALL": "C", "OMP_WAIT_POLICY": "passive"},
        )

    def test_an_embedding_model_is_told_its_task_and_the_longest_text(self) -> None:
        weights = WeightsStore(Clock(), Path("/state"), sources=()).embedding("all-minilm-l6-v2")
        engine = embedding_engine(weights, LocalModelSettings(threads=5), {"PATH": "/bin"})
        self.assertEqual(
            " ".join(engine.command[3:]),
            "/state/models/all-minilm-l6-v2.gguf --alias all-minilm-l6-v2 --context 512 --parallel 32 "
            "--threads 5 --cache-mib 0 --embedding",
        )
        self.assertEqual(engine.environ, {"PATH": "/bin", "OMP_WAIT_POLICY": "passive"})

    def test_a_known_model_brings_its_template(self) -> None:
        store = WeightsStore(Clock(), Path(), sources=())
        engine = llama_engine(store.known("qwen2.5-coder-0.5b"), LocalModelSettings(), {})
        template = Path(engine.command[engine.command.index("--template") + 1])
        self.assertIn("<|im_start|>", template.read_text())
        self.assertGreater(int(engine.command[engine.command.index("--threads") + 1]), 0)
