"""The local model's life: its states on a clock, then with processes of its own."""

from __future__ import annotations

import json
import sys
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
from openclaw_twisted.errors import GatewayError, ModelNotReadyError, NoProviderError, UpstreamError
from openclaw_twisted.providers.embedded import (
    LOAD_LIMIT_SECONDS,
    LOAD_WAIT_SECONDS,
    LocalEndpoint,
    LocalModel,
)
from openclaw_twisted.providers.fetching import FETCH_AGAIN_SECONDS, Fetching
from openclaw_twisted.providers.known_models import KnownModel
from openclaw_twisted.providers.local_process import Engine, LocalProcess, llama_engine
from openclaw_twisted.providers.local_server import KEY_VARIABLE
from openclaw_twisted.providers.partial_file import PartialFile
from openclaw_twisted.providers.progress_bar import ProgressBar
from openclaw_twisted.providers.weight_sources import Progress
from openclaw_twisted.providers.weights import Weights, WeightsStore
from tests.providers.wheels import CONTENT, known_model

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


class LoadingTests(Case):
    def test_nothing_is_started_before_it_is_wanted(self) -> None:
        self.model.check()
        self.stage.advance(1000)
        self.assertEqual(self.stage.started, [])
        self.assertIsNone(self.model.pid)

    def test_those_who_wait_share_one_process(self) -> None:
        first, second = self.ask(), self.ask()
        self.assertNoResult(first)
        self.process.ready()
        endpoint = self.successResultOf(first)
        self.assertEqual(endpoint, self.successResultOf(second))
        self.assertEqual((endpoint.base_url, endpoint.model), (f"{URL}/v1", "tiny"))
        self.assertEqual(endpoint.api_key, self.process.key)
        self.assertEqual(self.successResultOf(self.ask()), endpoint)
        self.assertEqual(len(self.stage.started), 1)
        self.assertEqual(self.model.pid, 4711)
        self.assertEqual(self.stage.getDelayedCalls(), [])

    def test_the_ready_line_may_come_in_pieces(self) -> None:
        waiting = self.ask()
        self.process.say('{"ready": true, "url": "http://127')
        self.assertNoResult(waiting)
        self.process.say('.0.0.1:1"}\nand more')
        self.assertEqual(self.successResultOf(waiting).base_url, "http://127.0.0.1:1/v1")

    def test_warming_up_loads_without_anybody_waiting(self) -> None:
        self.model.warm_up()
        self.process.ready()
        self.successResultOf(self.ask())

    def test_cancelling_ends_one_wait_and_nothing_else(self) -> None:
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(self.process.signals, [])
        self.process.ready()
        self.successResultOf(second)

    def test_a_slow_load_is_not_waited_for_for_ever(self) -> None:
        waiting = self.ask()
        self.stage.advance(LOAD_WAIT_SECONDS)
        error = self.failureResultOf(waiting, ModelNotReadyError).value
        self.assertIn("still loading", error.message)
        self.assertGreater(error.retry_after_seconds, 0)
        self.process.ready()
        self.successResultOf(self.ask())

    def test_a_load_that_hangs_is_ended(self) -> None:
        self.model.warm_up()
        self.stage.advance(LOAD_LIMIT_SECONDS)
        self.assertEqual(self.process.signals, ["TERM"])
        self.stage.advance(2)
        self.assertEqual(self.process.signals, ["TERM", "KILL"])

    def test_without_the_engine_the_ways_out_are_named(self) -> None:
        self.installed = False
        error = self.refused(NoProviderError)
        for way in ("pip install 'openclaw-twisted[local]'", "openclaw-gateway local pull", "API key"):
            self.assertIn(way, error.message)
        self.failureResultOf(self.ask(), NoProviderError)
        self.model.warm_up()
        self.assertEqual(self.stage.started, [])

    def test_those_told_may_ask_again_at_once(self) -> None:
        waiting = self.ask()

        def told(_: LocalEndpoint) -> None:
            self.model.check()
            self.stop()

        waiting.addCallback(told)
        self.process.ready()
        self.successResultOf(waiting)
        self.assertEqual(self.process.signals, ["TERM"])


class DeathTests(Case):
    def test_one_death_is_waited_out(self) -> None:
        waiting = self.ask()
        self.process.die()
        self.assertNoResult(waiting)
        self.model.check()
        self.stage.advance(1)
        self.assertEqual(len(self.stage.started), 2)
        self.process.ready()
        self.successResultOf(waiting)

    def test_the_second_in_a_row_is_told(self) -> None:
        waiting = self.ask()
        self.process.die()
        self.stage.advance(1)
        self.process.die(
            "0.00.1 I loading\n0.00.2 E bad magic\n0.00.3 E fail", "ed\nRuntimeError: see above\n"
        )
        for error in (
            self.failureResultOf(waiting, ModelNotReadyError).value,
            self.failureResultOf(self.ask(), ModelNotReadyError).value,
            self.refused(ModelNotReadyError),
        ):
            self.assertIn("does not run: it ended with status 1: bad magic", error.message)
            self.assertEqual(error.retry_after_seconds, 2.0)

    def test_a_last_word_is_quoted_when_the_log_has_no_error(self) -> None:
        self.model.warm_up()
        for _ in range(2):
            self.model.warm_up()
            self.process.die("ImportError: no engine")
            self.stage.advance(0.5)
            self.stage.advance(0.5)
        self.assertIn("status 1: ImportError: no engine", self.refused(ModelNotReadyError).message)

    def test_nothing_is_quoted_once_it_has_answered(self) -> None:
        for _ in range(2):
            self.model.warm_up()
            self.process.protocol.errReceived(b"0.00.1 E a file to be mapped was not\n")
            self.process.ready()
            self.process.die("1.00.0 E cannot parse: the user's secret\n", status=None, signal=9)
            self.stage.advance(1)
        message = self.refused(ModelNotReadyError).message
        self.assertTrue(message.endswith("it was ended by signal 9 (out of memory?)"), message)

    def test_the_rest_grows_to_half_a_minute(self) -> None:
        rests = []
        for _ in range(7):
            self.model.warm_up()
            asked = self.ask()
            self.process.die(status=0)
            asked.addErrback(lambda _: None)
            rest = min(self.stage.getDelayedCalls(), key=lambda call: call.getTime())
            rests.append(rest.getTime() - self.stage.seconds())
            self.stage.advance(rests[-1])
            asked.cancel()
        self.assertEqual(rests, [1, 2, 4, 8, 16, 30, 30])

    def test_a_stable_minute_makes_up_for_deaths(self) -> None:
        for _ in range(3):
            self.successResultOf(self.served())
            self.process.die()
            self.stage.advance(4)
        self.successResultOf(self.served())
        self.stage.advance(60)
        self.process.die()
        self.model.check()

    def served(self) -> Deferred[LocalEndpoint]:
        waiting = self.ask()
        if not waiting.called:
            self.process.ready()
        return waiting

    def test_what_was_serving_is_started_again_unasked(self) -> None:
        self.successResultOf(self.served())
        self.process.die()
        self.assertIsNone(self.model.pid)
        self.stage.advance(1)
        self.assertEqual(len(self.stage.started), 2)

    def test_what_never_served_is_started_again_when_wanted(self) -> None:
        self.model.warm_up()
        self.process.die()
        self.stage.advance(100)
        self.assertEqual(len(self.stage.started), 1)
        self.successResultOf(self.served())

    def test_a_new_process_has_a_new_key(self) -> None:
        first = self.successResultOf(self.served())
        self.process.die()
        self.stage.advance(1)
        self.process.ready()
        self.assertNotEqual(self.successResultOf(self.ask()).api_key, first.api_key)

    def test_a_process_that_cannot_be_started_counts_as_dead(self) -> None:
        self.stage.refuses = True
        waiting = self.ask()
        self.stage.advance(1)
        error = self.failureResultOf(waiting, ModelNotReadyError).value
        self.assertIn("it could not be started: Resource temporarily unavailable", error.message)


class StopTests(Case):
    def test_what_never_ran_is_stopped_at_once(self) -> None:
        self.successResultOf(self.stop())
        self.assertIn("being stopped", self.refused(ModelNotReadyError).message)
        self.failureResultOf(self.ask(), ModelNotReadyError)
        self.model.warm_up()
        self.assertEqual(self.stage.started, [])

    def test_a_process_is_asked_first_and_then_killed(self) -> None:
        for ready in (False, True):
            self.model = self.make()
            self.model.warm_up()
            if ready:
                self.process.ready()
            stopping = self.stop()
            again = self.stop()
            self.assertEqual(self.process.signals, ["TERM"])
            self.refused(ModelNotReadyError)
            self.stage.advance(1.9)
            self.assertEqual(self.process.signals, ["TERM"])
            self.stage.advance(0.1)
            self.assertEqual(self.process.signals, ["TERM", "KILL"])
            self.assertNoResult(stopping)
            self.process.die(status=None, signal=9)
            self.successResultOf(stopping)
            self.successResultOf(again)
            self.assertEqual(self.stage.getDelayedCalls(), [])

    def test_a_process_that_obeys_is_not_killed(self) -> None:
        self.model.warm_up()
        self.process.ready()
        stopping = self.stop()
        self.process.die(status=None, signal=15)
        self.successResultOf(stopping)
        self.stage.advance(10)
        self.assertEqual(self.process.signals, ["TERM"])

    def test_a_process_that_is_just_ready_is_stopped_all_the_same(self) -> None:
        self.model.warm_up()
        stopping = self.stop()
        self.process.ready()
        self.refused(ModelNotReadyError)
        self.process.die(status=None, signal=15)
        self.successResultOf(stopping)

    def test_those_who_wait_are_told(self) -> None:
        waiting = self.ask()
        self.stop()
        self.assertIn("being stopped", self.failureResultOf(waiting, ModelNotReadyError).value.message)
        self.process.die(status=0)

    def test_a_resting_model_does_not_come_back(self) -> None:
        self.model.warm_up()
        self.process.ready()
        self.process.die()
        self.successResultOf(self.stop())
        self.stage.advance(100)
        self.assertEqual(len(self.stage.started), 1)
        self.assertEqual(self.stage.getDelayedCalls(), [])


class FetchingTests(Case):
    """A model whose file is not there yet."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.state = Path(self.mktemp()).absolute()
        self.gate = Gate()
        self.model = self.make()

    def test_asking_begins_the_download_and_tells_how_far_it_is(self) -> None:
        self.model.check()
        error = self.failureResultOf(self.ask(), ModelNotReadyError).value
        self.assertIn("about to be fetched", error.message)
        self.gate.progress(0, 1000 * 10**6, "here")
        self.stage.advance(10)
        self.gate.progress(250 * 10**6, 1000 * 10**6, "here")
        error = self.failureResultOf(self.ask(), ModelNotReadyError).value
        self.assertIn("tiny is being fetched: 25 % of 1000 MB", error.message)
        self.assertEqual(error.retry_after_seconds, 30)
        self.assertEqual(self.refused(ModelNotReadyError).message, error.message)
        self.assertEqual(self.gate.asked, 1)

    def test_what_was_there_before_does_not_count_as_speed(self) -> None:
        self.model.warm_up()
        self.gate.progress(500, 1000, "here")
        self.stage.advance(10)
        self.gate.progress(600, 1000, "here")
        self.assertEqual(self.refused(ModelNotReadyError).retry_after_seconds, 40)

    def test_nobody_is_told_to_wait_longer_than_clients_do(self) -> None:
        self.model.warm_up()
        self.gate.progress(0, 10**6, "here")
        self.stage.advance(100)
        self.gate.progress(1, 10**6, "here")
        self.assertEqual(self.refused(ModelNotReadyError).retry_after_seconds, 120)

    def test_it_is_loaded_when_it_is_there(self) -> None:
        self.model.warm_up()
        self.assertEqual(self.stage.started, [])
        self.fetch()
        waiting = self.ask()
        self.process.ready()
        self.successResultOf(waiting)

    def test_the_bar_shows_it(self) -> None:
        self.model.warm_up()
        self.gate.progress(1, 2, "the source")
        self.fetch()
        self.assertIn("Fetching the local model tiny", self.out.getvalue())
        self.assertTrue(self.out.getvalue().endswith(" 50 %  0 of 0 MB  from the source\x1b[K\n"))

    def test_the_bar_is_silent_when_nothing_is_fetched(self) -> None:
        self.fetch()
        self.model.warm_up()
        self.assertEqual(self.out.getvalue(), "")

    def test_a_failure_names_its_reason_and_the_ways_out(self) -> None:
        self.ask().addErrback(lambda _: None)
        self.gate.opened.errback(UpstreamError("No network."))
        error = self.refused(NoProviderError)
        self.assertIn("No network.", error.message)
        self.assertIn("openclaw-gateway local pull", error.message)
        self.stage.advance(FETCH_AGAIN_SECONDS - 1)
        self.failureResultOf(self.ask(), NoProviderError)
        self.assertEqual(self.gate.asked, 1)
        self.gate.open()
        self.stage.advance(1)
        self.failureResultOf(self.ask(), ModelNotReadyError)
        self.assertEqual(self.gate.asked, 2)

    def test_what_another_program_fetched_meanwhile_is_taken(self) -> None:
        self.model.warm_up()
        self.gate.opened.errback(UpstreamError("No network."))
        self.gate.open()
        self.fetch()
        self.ask()
        self.process.ready()

    def test_a_defect_is_logged_and_not_quoted(self) -> None:
        self.model.warm_up()
        self.gate.opened.errback(ZeroDivisionError("detail"))
        self.assertNotIn("detail", self.refused(NoProviderError).message)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopping_ends_the_download(self) -> None:
        self.model.warm_up()
        self.successResultOf(self.stop())
        self.assertTrue(self.gate.opened.called)
        self.assertEqual(self.stage.started, [])

    def test_nothing_is_fetched_when_it_may_not_be(self) -> None:
        self.may_fetch = False
        self.model = self.make()
        self.assertIn("has not been fetched", self.refused(NoProviderError).message)
        self.assertEqual(self.gate.asked, 0)

    def test_a_file_of_the_users_own_is_used_or_missed(self) -> None:
        own = Path(self.mktemp()).absolute()
        self.model = self.make(path=str(own))
        self.assertIn(f"{own} is not there", self.refused(NoProviderError).message)
        own.write_bytes(b"no model")
        error: GatewayError = self.failureResultOf(self.ask(), NoProviderError).value
        self.assertIn("is not a GGUF file", error.message)
        own.write_bytes(CONTENT)
        self.stage.advance(FETCH_AGAIN_SECONDS)
        self.ask()
        self.process.ready()


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

    def test_a_known_model_brings_its_template(self) -> None:
        store = WeightsStore(Clock(), Path(), sources=())
        engine = llama_engine(store.known("qwen2.5-coder-0.5b"), LocalModelSettings(), {})
        template = Path(engine.command[engine.command.index("--template") + 1])
        self.assertIn("<|im_start|>", template.read_text())
        self.assertGreater(int(engine.command[engine.command.index("--threads") + 1]), 0)
