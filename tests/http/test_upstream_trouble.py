"""What goes wrong at a real upstream, told to the client truthfully: the table of docs/reference/errors."""

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import ProviderSettings
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.sse import encode
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, real_reactor, stream_of
from tests.http.door import DoorCase, Events, commented, data_of, text_of

Behaviour = Callable[[UpstreamCall], object]
KEY = "sk-the-gateways-own-key"
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 8 tokens"}}'


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    return lambda call: call.answer(code, body, **headers)


def nothing(_call: UpstreamCall) -> None:
    """Leave the call without an answer."""


def empty(call: UpstreamCall) -> None:
    call.stream()
    call.end()


class Plain(Protocol):
    """A server without TLS: what it hears makes no sense to it."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.transport.loseConnection()


class TroubleCase(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.upstream = FakeUpstream()
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))

    def open_door(
        self,
        base_url: str | None = None,
        *,
        fallback: str | None = None,
        patience_seconds: float = 5,
        max_concurrent: int | None = None,
        keep_alive_seconds: float = 15,
    ) -> None:
        def provider(url: str) -> ProviderSettings:
            return ProviderSettings(
                base_url=url,
                api_key=Secret(KEY),
                first_byte_timeout_seconds=patience_seconds,
                idle_timeout_seconds=patience_seconds,
                max_concurrent=max_concurrent,
                max_queued=0,
            )

        providers = {"mock": provider(base_url or self.upstream.base_url)}
        model: dict[str, Any] = {"primary": "mock/m"}
        if fallback is not None:
            providers["spare"] = provider(fallback)
            model["fallbacks"] = ["spare/m"]
        configured = Configured(real_reactor(), providers)
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        failover = Failover(Catalog(configured.providers), real_reactor(), retry_seconds=0.01)
        endpoints = {"chatCompletions": {"keepAliveSeconds": keep_alive_seconds}}
        settings = {"agents": {"defaults": {"model": model}}, "gateway": {"http": {"endpoints": endpoints}}}
        self.open(settings=settings, provider=failover)


class BeforeTheFirstByte(TroubleCase):
    async def test_each_status_of_the_upstream(self) -> None:
        table: list[tuple[Behaviour, int, str]] = [
            (UpstreamCall.hang_up, 502, "upstream_unavailable"),
            (UpstreamCall.reset, 502, "upstream_unavailable"),
            (status(429, retry_after="7"), 429, "upstream_rate_limited"),
            (status(500, b"<html>oops</html>"), 502, "upstream_unavailable"),
            (status(502), 502, "upstream_unavailable"),
            (status(503, retry_after="9"), 503, "upstream_overloaded"),
            (status(529), 503, "upstream_overloaded"),
            (status(504), 504, "upstream_timeout"),
            (status(401, f'{{"error":"bad {KEY}"}}'.encode()), 502, "upstream_auth"),
            (status(403), 502, "upstream_auth"),
            (status(400, CONTEXT), 400, "context_length_exceeded"),
            (status(400, b'{"error":{"message":"no such field"}}'), 400, "upstream_rejected"),
            (status(404, b'{"error":{"message":"no such model"}}'), 404, "upstream_rejected"),
            (status(422), 400, "upstream_rejected"),
            (status(302, location="http://127.0.0.1:1/"), 502, "upstream_unavailable"),
            (
                status(200, b'{"not":"a stream"}', content_type="application/json"),
                502,
                "upstream_unavailable",
            ),
            (lambda call: call.stream(encode(b"garbage")), 502, "upstream_unavailable"),
            (empty, 502, "upstream_unavailable"),
        ]
        for behaviour, code, name in table:
            await self.assert_told(behaviour, code, name)

    async def test_silence(self) -> None:
        for behaviour in (nothing, UpstreamCall.stream):
            await self.assert_told(behaviour, 504, "upstream_timeout", patience_seconds=0.05)

    async def assert_told(
        self, behaviour: Behaviour, code: int, name: str, patience_seconds: float = 5
    ) -> None:
        """Say what a whole and a streamed answer tell, each where nothing has gone wrong before."""
        self.upstream.behaviour = behaviour
        self.open_door(patience_seconds=patience_seconds)
        answer = await self.chat()
        self.assertEqual((answer.status, answer.error["code"]), (code, name), answer.text)
        self.assertNotIn(KEY, answer.text)
        self.assertLess(len(answer.text), 2500)
        await self.door.stop()
        self.open_door(patience_seconds=patience_seconds)
        _, events = await self.stream()
        *_, error, done = await events.rest()
        self.assertEqual((data_of(error)["error"]["code"], done), (name, "data: [DONE]"))
        await self.door.stop()

    async def test_retry_after_is_passed_on_within_bounds(self) -> None:
        for told, passed_on in {"7": "7", "9999": "120", "0": "5", "nan": "5", "Wed, 21 Oct": "5"}.items():
            self.upstream.behaviour = status(429, retry_after=told)
            self.open_door()
            self.assertEqual((await self.chat()).headers["retry-after"], passed_on, told)
            await self.door.stop()

    async def test_a_port_where_nobody_listens_within_five_seconds(self) -> None:
        base_url = self.upstream.base_url
        await self.upstream.stop()
        self.open_door(base_url)
        began = time.monotonic()
        answer = await self.chat()
        self.assertEqual((answer.status, answer.error["code"]), (502, "upstream_unavailable"))
        self.assertLess(time.monotonic() - began, 5)

    async def test_a_server_that_speaks_no_tls(self) -> None:
        port = real_reactor().listenTCP(0, Factory.forProtocol(Plain), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.open_door(f"https://127.0.0.1:{port.getHost().port}/v1")
        answer = await self.chat()
        self.assertEqual((answer.status, answer.error["code"]), (502, "upstream_unavailable"))

    async def test_a_second_try_may_succeed(self) -> None:
        def first(call: UpstreamCall) -> None:
            self.upstream.behaviour = answer_ok
            call.answer(503)

        self.upstream.behaviour = first
        self.open_door()
        self.assertEqual((await self.chat()).status, 200)

    async def test_a_fallback_may_succeed(self) -> None:
        spare = FakeUpstream(answer_ok)
        spare.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(spare.stop()))
        for behaviour in (status(401), status(429), status(500), UpstreamCall.reset):
            self.upstream.behaviour = behaviour
            self.open_door(fallback=spare.base_url)
            answer = await self.chat()
            self.assertEqual(answer.json["choices"][0]["message"]["content"], "ok")
            self.assertEqual(answer.headers["x-openclaw-model-used"], "spare/m")
            kept = await self.door.runs.store.run(answer.headers["x-openclaw-run-id"])
            self.assertEqual(kept and kept.model, "spare/m")
            await self.door.stop()

    async def test_a_stream_names_the_model_only_when_it_is_another(self) -> None:
        spare = FakeUpstream(answer_ok)
        spare.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(spare.stop()))
        self.open_door(fallback=spare.base_url)
        self.upstream.behaviour = status(401)
        response, events = await self.stream()
        self.assertFalse(response.headers.hasHeader("x-openclaw-model-used"))
        role, named, *_ = heard = await events.rest()
        self.assertEqual(data_of(role)["choices"][0]["delta"]["role"], "assistant")
        comment, chunk = commented(named)
        self.assertEqual(comment, "x-openclaw-model-used spare/m")
        self.assertEqual(chunk["choices"][0]["delta"], {})
        self.assertEqual(text_of(heard), "ok")
        await self.door.stop()
        self.upstream.behaviour = answer_ok
        self.open_door(fallback=spare.base_url)
        _, events = await self.stream()
        self.assertNotIn("x-openclaw", "".join(await events.rest()))
        self.assertEqual((await self.chat()).headers["x-openclaw-model-used"], "mock/m")

    async def test_no_comments_for_those_who_cannot_read_them(self) -> None:
        spare = FakeUpstream(answer_ok)
        spare.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(spare.stop()))
        self.open_door(fallback=spare.base_url, keep_alive_seconds=0)
        self.upstream.behaviour = status(401)
        for ask in (self.stream, self.respond_stream):
            _, events = await ask()
            heard = await events.rest()
            self.assertEqual([event for event in heard if event.startswith(":")], [])
            self.assertEqual(heard[-1], "data: [DONE]")

    async def test_more_than_a_provider_takes_at_a_time_is_told_at_once(self) -> None:
        self.open_door(max_concurrent=1)
        self.upstream.behaviour = None
        first = Deferred.fromCoroutine(self.chat())
        call = await self.upstream.calls.get()
        took: list[float] = []
        for stream in (False, True):
            began = time.monotonic()
            answer = await self.chat(stream=stream)
            took.append(time.monotonic() - began)
            self.assertEqual((answer.status, answer.error["code"]), (503, "upstream_overloaded"))
            self.assertEqual(answer.headers["retry-after"], "5")
        self.assertLess(min(took), 0.1)
        answer_ok(call)
        self.assertEqual((await first).status, 200)

    async def test_an_error_body_without_end_is_cut(self) -> None:
        self.open_door()

        def flood(call: UpstreamCall) -> None:
            call.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 200_000)

        self.upstream.behaviour = flood
        answer = await self.chat()
        self.assertEqual((answer.status, answer.error["code"]), (400, "upstream_rejected"))
        self.assertLess(len(answer.text), 2500)
        await self.until(lambda: not self.upstream.open)


def answer_ok(call: UpstreamCall) -> None:
    call.stream(*stream_of("ok"))
    call.end()


class OnTheWay(TroubleCase):
    async def test_half_an_answer_is_never_an_answer(self) -> None:
        self.open_door()
        ends: list[Behaviour] = [
            UpstreamCall.hang_up,
            UpstreamCall.reset,
            UpstreamCall.end,
            lambda call: call.event(b"data: [DONE]\n\n"),
            lambda call: call.event(b"data: {garbage\n\n"),
            lambda call: call.event(b'data: {"error":{"message":"boom"}}\n\n'),
            lambda call: call.send(b"not a chunk\r\n"),
        ]
        for at, end in enumerate(ends):
            await self.assert_interrupted(end, "upstream_unavailable", f"user-{at}")

    async def test_silence_is_no_answer_either(self) -> None:
        self.open_door(patience_seconds=0.05)
        await self.assert_interrupted(nothing, "upstream_timeout", "ann")

    async def assert_interrupted(self, end: Behaviour, name: str, user: str) -> None:
        """Say that half an answer is told, kept and marked as one, and that the next turn works."""
        _, events = await self.stream_half(end, user=user)
        heard = await events.rest()
        self.assertEqual(text_of(heard[:-2]), "half")
        self.assertEqual(data_of(heard[-2])["error"]["code"], name)
        self.assertEqual(heard[-1], "data: [DONE]")
        kept = await self.door.runs.store.history(f"agent:main:openai-user:{user}")
        marks = [(row.message.role, row.interrupted) for row in kept]
        self.assertEqual(marks, [("user", False), ("assistant", True)])
        whole = Deferred.fromCoroutine(self.chat())
        await self.end_half(end)
        self.assertEqual((await whole).error["code"], name)
        self.upstream.behaviour = answer_ok
        self.assertEqual((await self.chat(user=user)).status, 200)

    async def stream_half(self, end: Behaviour, user: str) -> tuple[Any, Events]:
        self.upstream.behaviour = None
        streaming = await self.stream(user=user)
        await self.end_half(end)
        return streaming

    async def end_half(self, end: Behaviour) -> None:
        """Send the beginning of an answer, and `end` it when the gateway has heard it."""
        call = await self.upstream.calls.get()
        call.stream(chunk({"content": "half"}))
        (run,) = self.door.runs.runner.active()
        await self.until(lambda: run.reply.text == "half")
        end(call)

    async def test_an_answer_without_done_after_its_finish_is_whole(self) -> None:
        self.open_door()

        def behave(call: UpstreamCall) -> None:
            call.stream(*stream_of("whole")[:-1])
            call.end()

        self.upstream.behaviour = behave
        self.assertEqual((await self.chat()).json["choices"][0]["message"]["content"], "whole")

    async def test_every_cut_of_an_answer_ends_in_a_truth(self) -> None:
        """Cut after each byte: either the whole answer, or an error; never a half one that looks whole."""
        self.open_door()
        whole = b"".join(stream_of("Hello", " there"))
        finished_at = whole.index(b'"finish_reason":"stop"')
        for cut in range(0, len(whole), 13):

            def behave(call: UpstreamCall, cut: int = cut) -> None:
                call.stream(*([whole[:cut]] if cut else []))
                call.end()

            self.upstream.behaviour = behave
            answer = await self.chat()
            if answer.status == 200:
                self.assertGreater(cut, finished_at)
                self.assertEqual(answer.json["choices"][0]["message"]["content"], "Hello there")
            else:
                self.assertEqual(answer.error["code"], "upstream_unavailable")
