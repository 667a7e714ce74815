"""The store of model files: presence, choice, fetching from each source, and everything that can fail."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from stat import S_IMODE
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent
from twisted.web.error import SchemeNotSupported
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.static import Data, File
from twisted.web.util import Redirect

from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.errors import ConfigError, StorageError, UpstreamError
from openclaw_twisted.providers.known_models import DEFAULT_MODEL, KNOWN_MODELS, KnownModel
from openclaw_twisted.providers.partial_file import PartialFile
from openclaw_twisted.providers.weight_sources import HttpsOnlyAgent, Progress, Publisher, Source, WheelMirror
from openclaw_twisted.providers.weights import WeightsStore
from openclaw_twisted.testing import real_reactor
from tests.providers.wheels import CONTENT, known_model, write_wheel, write_wheels

HALF = len(CONTENT) // 2

E = TypeVar("E", bound=Exception)


def silent(done_bytes: int, total_bytes: int, source: str) -> None:
    """Take progress and drop it."""


class Steps:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, str]] = []

    def __call__(self, done_bytes: int, total_bytes: int, source: str) -> None:
        self.steps.append((done_bytes, total_bytes, source))


class FixedSource:
    """A source that gives these bytes, whatever it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked = 0

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        self.asked += 1
        await file.keep(0)
        await file.append(self.content)
        progress(file.size_bytes, model.size_bytes, "here")


class RefusingSource:
    """A source that has nothing."""

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        raise UpstreamError("The first source is closed.")


class StoreCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def store(self, *sources: Source, model: KnownModel | None = None) -> WeightsStore:
        model = model or known_model()
        return WeightsStore(real_reactor(), self.state, sources=sources, models={model.name: model})

    async def failing(self, work: Awaitable[object], kind: type[E]) -> E:
        try:
            await work
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    def files(self) -> set[str]:
        return {path.name for path in (self.state / "models").iterdir()}


class PresenceTests(StoreCase):
    async def test_a_fetched_file_is_there_for_its_owner_alone(self) -> None:
        store = self.store(FixedSource(CONTENT))
        weights = store.known("tiny")
        self.assertFalse(store.present(weights))
        await store.pull(weights, silent)
        self.assertTrue(store.present(weights))
        self.assertEqual(weights.path.read_bytes(), CONTENT)
        self.assertEqual(S_IMODE(weights.path.stat().st_mode), 0o600)
        self.assertEqual(S_IMODE(weights.path.parent.stat().st_mode), 0o700)
        self.assertEqual(self.files(), {"tiny.gguf", "tiny.json", "tiny.lock"})

    async def test_what_is_there_is_not_fetched_again(self) -> None:
        source = FixedSource(CONTENT)
        store = self.store(source)
        await store.pull(store.known("tiny"), silent)
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(source.asked, 1)

    async def test_a_file_that_was_touched_is_verified_before_it_counts(self) -> None:
        source = FixedSource(CONTENT)
        store = self.store(source)
        weights = store.known("tiny")
        await store.pull(weights, silent)
        weights.path.write_bytes(CONTENT[:-1] + b"?")
        self.assertFalse(store.present(weights))
        await store.pull(weights, silent)
        self.assertEqual(source.asked, 2)
        self.assertEqual(weights.path.read_bytes(), CONTENT)

    async def test_the_right_file_put_there_by_hand_is_taken(self) -> None:
        store = self.store()
        weights = store.known("tiny")
        weights.path.parent.mkdir(parents=True)
        weights.path.write_bytes(CONTENT)
        self.assertFalse(store.present(weights))
        await store.pull(weights, silent)
        self.assertTrue(store.present(weights))

    async def test_two_at_once_fetch_once(self) -> None:
        source = FixedSource(CONTENT)
        first, second = self.store(source), self.store(source)
        pulls = [Deferred.fromCoroutine(each.pull(each.known("tiny"), silent)) for each in (first, second)]
        await gatherResults(pulls)
        self.assertEqual(source.asked, 1)
        self.assertTrue(second.present(second.known("tiny")))

    async def test_status_tells_how_much_is_there(self) -> None:
        store = self.store(FixedSource(CONTENT))
        weights = store.known("tiny")
        self.assertEqual((store.status(weights).fetched_bytes, store.status(weights).present), (0, False))
        weights.path.parent.mkdir(parents=True)
        weights.path.with_suffix(".partial").write_bytes(CONTENT[:1000])
        status = store.status(weights)
        self.assertEqual(
            (status.fetched_bytes, status.size_bytes, status.present), (1000, len(CONTENT), False)
        )
        await store.pull(weights, silent)
        self.assertEqual(store.status(weights).fetched_bytes, len(CONTENT))
        self.assertTrue(store.status(weights).present)


class FailureTests(StoreCase):
    async def test_a_wrong_checksum_names_both_and_keeps_nothing(self) -> None:
        store = self.store(FixedSource(b"x" * len(CONTENT)))
        weights = store.known("tiny")
        error = await self.failing(store.pull(weights, silent), UpstreamError)
        assert weights.known is not None
        self.assertIn(weights.known.sha256, error.message)
        self.assertIn(_wrong_checksum(), error.message)
        self.assertEqual(self.files(), {"tiny.lock"})

    async def test_the_next_source_is_asked_when_one_fails(self) -> None:
        store = self.store(RefusingSource(), FixedSource(b"wrong"), FixedSource(CONTENT))
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_every_reason_is_told_when_all_fail(self) -> None:
        store = self.store(RefusingSource(), FixedSource(b"wrong"))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("The first source is closed.", error.message)
        self.assertIn("SHA-256", error.message)

    async def test_a_full_disk_is_noticed_before_anything_is_fetched(self) -> None:
        source = FixedSource(CONTENT)
        store = self.store(source, model=msgspec.structs.replace(known_model(), size_bytes=10**18))
        error = await self.failing(store.pull(store.known("tiny"), silent), StorageError)
        self.assertIn("Make room", error.message)
        self.assertEqual(source.asked, 0)

    async def test_a_folder_that_cannot_be_written_is_a_storage_error(self) -> None:
        self.state.mkdir()
        (self.state / "models").write_text("in the way")
        store = self.store(FixedSource(CONTENT))
        error = await self.failing(store.pull(store.known("tiny"), silent), StorageError)
        self.assertIn(str(self.state / "models"), error.message)


def _wrong_checksum() -> str:
    return hashlib.sha256(b"x" * len(CONTENT)).hexdigest()


class ChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.store = WeightsStore(Clock(), self.state, sources=())
        self.own = Path(self.mktemp()).absolute().with_name("My Model v2.gguf")
        self.own.parent.mkdir(parents=True, exist_ok=True)
        self.own.write_bytes(b"GGUF and so on")

    def test_the_settings_model_is_meant_by_default(self) -> None:
        weights = self.store.resolve(LocalModelSettings())
        self.assertEqual(weights.name, DEFAULT_MODEL)
        self.assertEqual(weights.path, self.state / "models" / f"{DEFAULT_MODEL}.gguf")

    def test_an_unknown_model_is_refused_with_the_known_ones(self) -> None:
        error = self.assertRaises(ConfigError, self.store.resolve, LocalModelSettings(model="gpt-9"))
        for name in ("gpt-9", *KNOWN_MODELS):
            self.assertIn(name, error.message)

    def test_a_file_of_the_users_own_is_remembered(self) -> None:
        self.assertEqual(self.store.use(str(self.own)).name, "my-model-v2")
        weights = WeightsStore(Clock(), self.state, sources=()).resolve(LocalModelSettings())
        self.assertEqual((weights.name, weights.path, weights.known), ("my-model-v2", self.own, None))
        self.assertTrue(self.store.present(weights))

    def test_a_known_model_can_be_chosen_again(self) -> None:
        self.store.use(str(self.own))
        self.store.use("smollm2-135m")
        self.assertEqual(self.store.resolve(LocalModelSettings()).name, "smollm2-135m")

    def test_the_settings_own_path_wins(self) -> None:
        self.store.use("smollm2-135m")
        weights = self.store.resolve(LocalModelSettings(path=str(self.own), model="mine"))
        self.assertEqual((weights.name, weights.path), ("mine", self.own))
        weights = self.store.resolve(LocalModelSettings(path=str(self.own)))
        self.assertEqual(weights.name, "my-model-v2")

    def test_only_gguf_files_are_taken(self) -> None:
        self.own.write_bytes(b"PK\x03\x04 a zip file")
        error = self.assertRaises(ConfigError, self.store.use, str(self.own))
        self.assertIn("is not a GGUF file", error.message)
        error = self.assertRaises(ConfigError, self.store.use, str(self.own.with_name("absent")))
        self.assertIn("cannot be read: No such file", error.message)

    def test_a_choice_that_makes_no_sense_is_no_choice(self) -> None:
        self.store.use(str(self.own))
        (self.state / "models" / "choice.json").write_text("{")
        self.assertEqual(self.store.resolve(LocalModelSettings()).name, DEFAULT_MODEL)


class KnownModelsTests(SynchronousTestCase):
    def test_the_mirrors_parts_make_up_each_file(self) -> None:
        for model in KNOWN_MODELS.values():
            self.assertEqual(sum(wheel.size_bytes for wheel in model.wheels), model.size_bytes, model.name)
            self.assertEqual(len({wheel.sha256 for wheel in model.wheels}), len(model.wheels), model.name)
            self.assertTrue(model.url.startswith("https://"), model.name)


class Sending(Resource):
    """Sends this and no more, and then hangs up or waits; `gone` fires when the client has left."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, content: bytes, *, length: int | None = len(CONTENT), hang_up: bool = False) -> None:
        super().__init__()
        self.content = content
        self.length = length
        self.hang_up = hang_up
        self.asked: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def render_GET(self, request: Request) -> int:
        request.notifyFinish().addErrback(lambda _: self.gone.callback(None))
        if self.length is not None:
            request.setHeader(b"content-length", b"%d" % self.length)
        if self.content:
            request.write(self.content)
        if self.hang_up:
            request.loseConnection()
        self.asked.callback(None)
        return NOT_DONE_YET


class PublisherTests(StoreCase):
    """The publisher is a web server on the loopback interface, spoken to in the clear."""

    def setUp(self) -> None:
        super().setUp()
        self.root = Resource()
        self.ranges: list[bytes | None] = []
        self.port = self.listen()
        self.addCleanup(self.port.stopListening)

    def listen(self) -> Any:
        ranges = self.ranges

        class Recorded(Site):
            def getResourceFor(self, request: Any) -> Any:
                ranges.append(request.getHeader(b"range"))
                return super().getResourceFor(request)

        site = Recorded(self.root)
        return real_reactor().listenTCP(0, site, interface="127.0.0.1")

    def serve(self, resource: Resource, **changes: Any) -> WeightsStore:
        self.root.putChild(b"tiny.gguf", resource)
        url = f"http://127.0.0.1:{self.port.getHost().port}/tiny.gguf"
        model = msgspec.structs.replace(known_model(url), **changes)
        return self.store(Publisher(real_reactor(), Agent(real_reactor())), model=model)

    def file(self, content: bytes = CONTENT) -> File:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return File(str(path))

    def leave_partial(self, content: bytes) -> None:
        (self.state / "models").mkdir(parents=True)
        (self.state / "models" / "tiny.partial").write_bytes(content)

    async def test_the_file_is_fetched_with_progress(self) -> None:
        steps = Steps()
        store = self.serve(self.file())
        await store.pull(store.known("tiny"), steps)
        self.assertTrue(store.present(store.known("tiny")))
        self.assertEqual(steps.steps[0], (0, len(CONTENT), "127.0.0.1"))
        self.assertEqual(steps.steps[-1], (len(CONTENT), len(CONTENT), "127.0.0.1"))
        self.assertEqual(steps.steps, sorted(steps.steps))

    async def test_a_redirect_is_followed(self) -> None:
        self.root.putChild(b"elsewhere", self.file())
        store = self.serve(Redirect(b"/elsewhere"))
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_an_earlier_attempt_is_gone_on_with(self) -> None:
        self.leave_partial(CONTENT[:HALF])
        store = self.serve(self.file())
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(self.ranges, [b"bytes=%d-" % HALF])
        self.assertTrue(store.present(store.known("tiny")))

    async def test_a_server_that_cannot_go_on_starts_again(self) -> None:
        self.leave_partial(CONTENT[:HALF])
        store = self.serve(Data(CONTENT, "application/octet-stream"))
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_a_whole_partial_file_is_only_verified(self) -> None:
        self.leave_partial(CONTENT)
        store = self.serve(self.file())
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(self.ranges, [])
        self.assertTrue(store.present(store.known("tiny")))

    async def test_what_arrived_before_a_break_is_kept(self) -> None:
        store = self.serve(Sending(CONTENT[:HALF], hang_up=True))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("broke off", error.message)
        self.assertEqual(store.status(store.known("tiny")).fetched_bytes, HALF)
        self.assertEqual(self.files(), {"tiny.partial", "tiny.lock"})

    async def test_a_file_of_another_size_is_not_even_fetched(self) -> None:
        store = self.serve(self.file(CONTENT + b"more"))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn(f"offers {len(CONTENT) + 4} bytes where {len(CONTENT)} are expected", error.message)

    async def test_a_refusal_names_the_status(self) -> None:
        store = self.serve(Resource())
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("127.0.0.1 answered with status 4", error.message)

    async def test_nobody_there_is_an_upstream_error(self) -> None:
        store = self.serve(self.file())
        await self.port.stopListening()
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("127.0.0.1 cannot be reached (ConnectionRefusedError)", error.message)

    async def test_cancelling_hangs_up_and_keeps_what_arrived(self) -> None:
        half = Sending(CONTENT[:HALF])
        store = self.serve(half)
        arrived: Deferred[None] = Deferred()

        def progress(done_bytes: int, total_bytes: int, source: str) -> None:
            if done_bytes == HALF:
                real_reactor().callLater(0, arrived.callback, None)

        pull = Deferred.fromCoroutine(store.pull(store.known("tiny"), progress))
        await arrived
        pull.cancel()
        await self.failing(pull, CancelledError)
        await half.gone
        self.assertEqual(self.files(), {"tiny.partial", "tiny.lock"})
        self.assertEqual(store.status(store.known("tiny")).fetched_bytes, HALF)

    async def test_cancelling_before_there_is_an_answer_asks_nobody_else(self) -> None:
        silence = Sending(b"")
        store = self.serve(silence)
        other = FixedSource(CONTENT)
        store = self.store(
            Publisher(real_reactor(), Agent(real_reactor())), other, model=store.known("tiny").known
        )
        pull = Deferred.fromCoroutine(store.pull(store.known("tiny"), silent))
        await silence.asked
        pull.cancel()
        await self.failing(pull, CancelledError)
        await silence.gone
        self.assertEqual(other.asked, 0)

    async def test_a_file_that_does_not_end_is_cut_off(self) -> None:
        endless = Sending(CONTENT + b"more", length=None)
        store = self.serve(endless)
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("sent more than", error.message)
        await endless.gone


class HttpsOnlyTests(SynchronousTestCase):
    def test_nothing_is_asked_in_the_clear(self) -> None:
        asked: list[bytes] = []

        class Recording:
            def request(
                self, method: bytes, uri: bytes, headers: Any = None, body: Any = None
            ) -> Deferred[Any]:
                asked.append(uri)
                return fail(ConnectionError())

        agent = HttpsOnlyAgent(Recording())  # type: ignore[arg-type]
        self.failureResultOf(agent.request(b"GET", b"http://models.example/x"), SchemeNotSupported)
        self.assertEqual(asked, [])
        self.failureResultOf(agent.request(b"GET", b"HTTPS://models.example/x"), ConnectionError)
        self.assertEqual(asked, [b"HTTPS://models.example/x"])


class MirrorTests(StoreCase):
    """The mirror is pip itself, pointed at a folder of wheels."""

    def setUp(self) -> None:
        super().setUp()
        self.links = Path(self.mktemp()).absolute()
        self.links.mkdir()

    def mirror(self, python: str = sys.executable) -> WheelMirror:
        environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links), "PIP_CONFIG_FILE": "/dev/null"}
        return WheelMirror(real_reactor(), environ, python)

    def script(self, text: str) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return str(path)

    async def pull(self, store: WeightsStore, progress: Callable[[int, int, str], None] = silent) -> None:
        await store.pull(store.known("tiny"), progress)

    async def test_the_wheels_are_put_together_when_the_publisher_refuses(self) -> None:
        steps = Steps()
        store = self.store(
            RefusingSource(), self.mirror(), model=known_model(wheels=write_wheels(self.links))
        )
        await self.pull(store, steps)
        self.assertTrue(store.present(store.known("tiny")))
        self.assertEqual(steps.steps[-1], (len(CONTENT), len(CONTENT), "the mirror on PyPI"))
        self.assertEqual(self.files(), {"tiny.gguf", "tiny.json", "tiny.lock"})

    async def test_only_missing_wheels_are_fetched(self) -> None:
        wheels = write_wheels(self.links)
        (self.links / "tiny_part1-1.0-py3-none-any.whl").unlink()
        store = self.store(self.mirror(), model=known_model(wheels=wheels))
        (self.state / "models").mkdir(parents=True)
        partial = self.state / "models" / "tiny.partial"
        partial.write_bytes(CONTENT[: wheels[0].size_bytes + 7])
        await self.pull(store)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_a_wheel_with_another_hash_is_refused_in_pips_words(self) -> None:
        wheels = write_wheels(self.links, parts=1)
        write_wheel(self.links, 1, b"something else")
        store = self.store(self.mirror(), model=known_model(wheels=wheels))
        error = await self.failing(self.pull(store), UpstreamError)
        self.assertIn("pip could not download tiny-part1 1.0 (exit 1)", error.message)
        self.assertIn(wheels[0].sha256, error.message)
        self.assertEqual(self.files() - {"tiny.partial"}, {"tiny.lock"})

    async def test_a_wheel_without_the_file_is_refused(self) -> None:
        wheel = msgspec.structs.replace(write_wheels(self.links, parts=1)[0], member="elsewhere.bin")
        store = self.store(self.mirror(), model=known_model(wheels=(wheel,)))
        error = await self.failing(self.pull(store), UpstreamError)
        self.assertIn("does not hold elsewhere.bin", error.message)

    async def test_a_python_without_pip_is_explained(self) -> None:
        python = self.script("echo '/opt/python: No module named pip' >&2; exit 1")
        store = self.store(self.mirror(python), model=known_model(wheels=write_wheels(self.links)))
        error = await self.failing(self.pull(store), UpstreamError)
        self.assertIn("ensurepip", error.message)

    async def test_pip_sees_none_of_the_gateways_secrets(self) -> None:
        python = self.script("env >&2; exit 3")
        environ = {"OPENAI_API_KEY": "sk-secret", "https_proxy": "http://proxy:1", "PIP_INDEX_URL": "index"}
        mirror = WheelMirror(real_reactor(), environ, python)
        store = self.store(mirror, model=known_model(wheels=write_wheels(self.links)))
        error = await self.failing(self.pull(store), UpstreamError)
        self.assertIn("https_proxy=http://proxy:1", error.message)
        self.assertIn("PIP_INDEX_URL=index", error.message)
        self.assertNotIn("sk-secret", error.message)

    async def test_cancelling_kills_pip_and_leaves_nothing_of_its(self) -> None:
        store = self.store(
            self.mirror(self.script("exec sleep 600")), model=known_model(wheels=write_wheels(self.links))
        )
        pull = Deferred.fromCoroutine(self.pull(store))
        while "tiny.pull" not in self.files():
            await deferLater(real_reactor(), 0.01)
        await deferLater(real_reactor(), 0)
        pull.cancel()
        await self.failing(pull, CancelledError)
        self.assertEqual(self.files() - {"tiny.partial"}, {"tiny.lock"})

    async def test_a_model_without_wheels_has_no_mirror(self) -> None:
        store = self.store(self.mirror())
        error = await self.failing(self.pull(store), UpstreamError)
        self.assertIn("tiny has no mirror", error.message)


_sources: Sequence[Source] = (FixedSource(b""), RefusingSource())
