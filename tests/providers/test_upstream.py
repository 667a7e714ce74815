"""Calls over real sockets to a server that the test plays, and the body's own rules on a clock."""

import gzip
from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseDone

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import (
    ContextLengthError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta
from openclaw_twisted.providers.answer import DRAIN_SECONDS, HIGH_WATER_BYTES, Answer, Body, Timeouts
from openclaw_twisted.providers.openai_completions import OpenAICompletions
from openclaw_twisted.providers.openai_embeddings import OpenAIEmbeddings
from openclaw_twisted.providers.upstream import Address, Upstream, make_agent
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, real_reactor, stream_of, user

E = TypeVar("E", bound=BaseException)

HELLO = ModelRequest(model="m", messages=(user("hi"),))


class Calls(TestCase):
    timeout = 10

    def setUp(self) -> None:
        self.server = FakeUpstream()
        self.server.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))
        self.heard: list[ProviderEvent] = []
        self.first_heard: Deferred[None] = Deferred()
        self.provider = self.make_provider(Timeouts())

    def upstream(self, timeouts: Timeouts) -> Upstream:
        reactor = real_reactor()
        agent = make_agent(reactor, timeouts)
        self.addCleanup(lambda: Deferred.fromCoroutine(agent.close()))
        return Upstream(reactor, agent, name="mock", timeouts=timeouts)

    def embeddings(self) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(
            self.upstream(Timeouts()), name="mock", base_url=self.server.base_url, headers={}, model="m"
        )

    def make_provider(self, timeouts: Timeouts, base_url: str | None = None) -> OpenAICompletions:
        return OpenAICompletions(
            self.upstream(timeouts),
            name="mock",
            base_url=base_url or self.server.base_url,
            headers={"authorization": "Bearer sk-secret-key"},
        )

    def ask(self) -> Deferred[None]:
        # An answer ends inside the delivery of its last bytes; the test goes on after it.
        asking = Deferred.fromCoroutine(self._listen())
        return asking.addBoth(lambda result: deferLater(real_reactor(), 0, lambda: result))

    async def _listen(self) -> None:
        batch: Sequence[ProviderEvent]
        async for batch in self.provider.respond(HELLO):
            if not self.heard:
                real_reactor().callLater(0, self.first_heard.callback, None)
            self.heard += batch

    async def failing(self, result: Deferred[Any], kind: type[E]) -> E:
        try:
            await result
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    async def test_an_answer(self) -> None:
        asking = self.ask()
        call = await self.server.calls.get()
        self.assertEqual(
            (call.path, call.headers["authorization"]), ("/v1/chat/completions", "Bearer sk-secret-key")
        )
        self.assertEqual(call.body["messages"], [{"role": "user", "content": "hi"}])
        self.assertTrue(call.body["stream"])
        call.stream(*stream_of("Hel", "lo"))
        call.end()
        await asking
        self.assertEqual(
            [event for event in self.heard if isinstance(event, TextDelta)],
            [TextDelta("Hel"), TextDelta("lo")],
        )
        self.assertIsInstance(self.heard[-1], Finished)

    async def test_the_connection_is_used_again(self) -> None:
        def answer(call: UpstreamCall) -> None:
            call.stream(*stream_of("ok"))
            call.end()

        self.server.behaviour = answer
        for _ in range(3):
            await self.ask()
        self.assertEqual(self.server.connections, 1)

    async def test_an_answer_ends_at_done_although_the_body_stays_open(self) -> None:
        asking = self.ask()
        call = await self.server.calls.get()
        closed = call.closed
        call.stream(*stream_of("ok"))
        await asking
        await closed  # the drain gives up on the connection

    async def test_a_kept_connection_that_the_server_closed_costs_a_second_try(self) -> None:
        def answer_once(call: UpstreamCall) -> None:
            call.stream(*stream_of("ok"))
            call.end()
            self.server.behaviour = hang_up_once

        def hang_up_once(call: UpstreamCall) -> None:
            call.hang_up()
            self.server.behaviour = answer_once

        self.server.behaviour = answer_once
        await self.ask()
        await self.ask()
        self.assertEqual(self.server.connections, 2)

    async def test_a_server_that_always_hangs_up(self) -> None:
        self.server.behaviour = UpstreamCall.hang_up
        error = await self.failing(self.ask(), UpstreamError)
        self.assertEqual(error.code, "upstream_unavailable")
        self.assertEqual(self.server.connections, 1)  # to try again is for those who count tries

    async def test_a_port_where_nobody_listens(self) -> None:
        base_url = self.server.base_url
        await self.server.stop()
        self.provider = self.make_provider(Timeouts(), base_url)
        error = await self.failing(self.ask(), UpstreamError)
        self.assertIn("cannot be reached", error.message)

    async def test_a_server_that_never_answers(self) -> None:
        self.provider = self.make_provider(Timeouts(first_byte_seconds=0.05))
        asking = self.ask()
        call = await self.server.calls.get()
        closed = call.closed
        await self.failing(asking, UpstreamTimeoutError)
        await closed

    async def test_a_server_that_falls_silent(self) -> None:
        self.provider = self.make_provider(Timeouts(idle_seconds=0.05))
        asking = self.ask()
        call = await self.server.calls.get()
        closed = call.closed
        call.stream(chunk({"content": "half"}))
        await self.failing(asking, UpstreamTimeoutError)
        self.assertEqual(self.heard, [TextDelta("half")])
        await closed

    async def test_a_server_that_breaks_off(self) -> None:
        for end in (UpstreamCall.hang_up, UpstreamCall.reset, UpstreamCall.end):
            self.heard.clear()
            self.first_heard = Deferred()
            asking = self.ask()
            call = await self.server.calls.get()
            call.stream(chunk({"content": "half"}))
            await self.first_heard
            end(call)
            await self.failing(asking, UpstreamError)

    async def test_refusals(self) -> None:
        table: list[tuple[int, bytes, type[UpstreamError]]] = [
            (401, b'{"error":{"message":"bad key sk-secret-key"}}', UpstreamAuthError),
            (429, b"", UpstreamRateLimitError),
            (500, b"<html>", UpstreamError),
            (503, b"", UpstreamOverloadedError),
            (
                400,
                b'{"error":{"code":"context_length_exceeded","message":"maximum context length"}}',
                ContextLengthError,
            ),
            (302, b"", UpstreamError),
        ]
        for status, body, kind in table:
            asking = self.ask()
            call = await self.server.calls.get()
            call.answer(status, body, retry_after="7", location="http://127.0.0.1:1/elsewhere")
            error = await self.failing(asking, kind)
            self.assertNotIn("sk-secret-key", str(error))
            if isinstance(error, UpstreamRateLimitError):
                self.assertEqual(error.retry_after_seconds, 7)

    async def test_answers_are_asked_for_as_they_are(self) -> None:
        asking = self.ask()
        call = await self.server.calls.get()
        self.assertEqual(call.headers["accept-encoding"], "identity")
        call.answer(500)
        await self.failing(asking, UpstreamError)

    async def test_an_answer_that_comes_compressed_nevertheless(self) -> None:
        body = b"".join(stream_of("Hel", "lo"))
        for coding, sent in (
            ("gzip", gzip.compress(body)),
            ("GZIP", gzip.compress(body)),
            ("identity", body),
            ("none", body),
        ):
            self.heard.clear()
            self.first_heard = Deferred()
            self.server.behaviour = lambda call, sent=sent, coding=coding: call.answer(
                200, sent, content_encoding=coding
            )
            await self.ask()
            self.assertEqual(self.heard[:2], [TextDelta("Hel"), TextDelta("lo")], coding)
        self.assertEqual(self.server.connections, 1)

    async def test_an_answer_in_one_piece_although_a_stream_was_asked_for(self) -> None:
        whole = b"""{\r
            "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],\n
            "usage": {"prompt_tokens": 3, "completion_tokens": 2}
        }"""
        for at in (len(whole), 1, 60):
            self.heard.clear()
            self.first_heard = Deferred()
            asking = self.ask()
            call = await self.server.calls.get()
            call.stream(whole[:at])
            await deferLater(real_reactor(), 0)
            if whole[at:]:
                call.event(whole[at:])
            call.end()
            await asking
            self.assertEqual(self.heard, [TextDelta("Hello"), Finished("stop", Usage(3, 2, 5))])
        self.assertEqual(self.server.connections, 1)

    async def test_an_error_with_the_status_of_an_answer(self) -> None:
        said = b'{"error":{"message":"The boiler of sk-secret-key exploded","code":503}}'
        self.server.behaviour = lambda call: call.answer(200, said, content_type="application/json")
        error = await self.failing(self.ask(), UpstreamOverloadedError)
        self.assertIn("The boiler of *** exploded", error.message)

    async def test_embeddings_are_asked_for_compressed(self) -> None:
        body = gzip.compress(b'{"data":[{"embedding":[0.5,-1]}]}')
        self.server.behaviour = None
        asking = Deferred.fromCoroutine(self.embeddings().embed(["hi"], None))
        call = await self.server.calls.get()
        self.assertEqual(call.headers["accept-encoding"], "gzip")
        call.answer(200, body, content_encoding="gzip")
        self.assertEqual((await asking).vectors, ((0.5, -1.0),))

    async def test_counts_of_embeddings_that_nobody_can_have_counted(self) -> None:
        for usage, expected in (
            (b'{"prompt_tokens":3.0,"total_tokens":null}', Usage(prompt_tokens=3, total_tokens=3)),
            (b'{"prompt_tokens":-1,"total_tokens":1e300}', Usage()),
        ):
            body = b'{"data":[{"embedding":[1]}],"usage":%b}' % usage
            self.server.behaviour = lambda call, body=body: call.answer(200, body)
            self.assertEqual((await self.embeddings().embed(["hi"], None)).usage, expected)

    async def test_what_cannot_be_unpacked_is_no_answer(self) -> None:
        for coding, words in (
            ("gzip", "broke off"),
            ("br", "compressed its answer"),
            ("gzip, br", "(gzip, br)"),
        ):
            self.server.behaviour = lambda call, coding=coding: call.answer(
                200, b"data: {}\n\n", content_encoding=coding
            )
            error = await self.failing(self.ask(), UpstreamError)
            self.assertIn(words, error.message)

    async def test_cancelling_before_the_answer_closes_the_connection(self) -> None:
        asking = self.ask()
        call = await self.server.calls.get()
        closed = call.closed
        asking.cancel()
        await self.failing(asking, CancelledError)
        await closed

    async def test_cancelling_during_the_answer_closes_the_connection(self) -> None:
        asking = self.ask()
        call = await self.server.calls.get()
        closed = call.closed
        call.stream(chunk({"content": "half"}))
        await self.first_heard
        asking.cancel()
        await self.failing(asking, CancelledError)
        await closed


def lost(asking: Deferred[str]) -> None:
    asking.errback(ConnectionLost())


class Transport(StringTransport):
    """Counts what a body asks of its connection."""

    aborted = False

    def stopProducing(self) -> None:
        self.aborted = True


class Addresses(SynchronousTestCase):
    def test_a_request_goes_where_it_says(self) -> None:
        for url, uri in (
            ("http://[::1]:11434/v1", b"http://[::1]:11434/v1"),
            ("http://my_vllm:8000/v1", b"http://my_vllm:8000/v1"),
            ("https://h\u00f6.example/\u00e9", b"https://xn--h-1ga.example/%C3%A9"),
        ):
            self.assertEqual(Address(url, {}).head.uri, uri)

    def test_a_name_that_no_certificate_can_have(self) -> None:
        clock: Any = Clock()
        upstream = Upstream(clock, make_agent(clock, Timeouts()), name="mock", timeouts=Timeouts())
        asking = Deferred.fromCoroutine(upstream.post(Address("https://my_vllm/v1", {}), b"{}"))
        self.failureResultOf(asking, UpstreamError)


class Head:
    status = 200

    def header(self, name: bytes) -> None: ...


class Piece(bytes):
    """Of a body of many megabytes, which is copied whole each time that a piece is added to it."""

    __slots__ = ()

    def __radd__(self, _before: bytes) -> bytes:
        raise AssertionError("a body that grows is copied")


class Bodies(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        timeouts = Timeouts(first_byte_seconds=10, idle_seconds=5)
        self.body = Body(self.clock, timeouts, name="mock", sent_at=0.0)
        self.body.makeConnection(self.transport)

    def test_what_arrived_is_read_at_once_and_joined(self) -> None:
        self.body.dataReceived(b"a")
        self.body.dataReceived(b"b")
        self.assertEqual(self.successResultOf(self.body.read()), b"ab")

    def test_a_whole_body_is_put_together_once(self) -> None:
        head: Any = Head()
        for limit, expected in ((100, b"abc"), (3, b"abc"), (2, b"ab")):
            self.setUp()
            reading = Deferred.fromCoroutine(Answer(head, self.body).read_at_most(limit))
            for piece in (b"a", b"b", b"c"):
                self.body.dataReceived(Piece(piece))
            self.body.connectionLost(Failure(ResponseDone()))
            self.assertEqual(self.successResultOf(reading), expected)

    def test_nobody_reading_stops_the_socket_and_reading_resumes_it(self) -> None:
        self.body.dataReceived(b"x" * HIGH_WATER_BYTES)
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(len(self.successResultOf(self.body.read())), HIGH_WATER_BYTES)
        self.assertEqual(self.transport.producerState, "producing")

    def test_the_end_comes_after_the_rest(self) -> None:
        self.body.dataReceived(b"last")
        self.body.connectionLost(Failure(ResponseDone()))
        self.assertEqual(self.successResultOf(self.body.read()), b"last")
        self.assertEqual(self.successResultOf(self.body.read()), b"")
        self.assertEqual(self.successResultOf(self.body.read()), b"")

    def test_a_lost_connection_is_an_error_after_the_rest(self) -> None:
        self.body.dataReceived(b"last")
        self.body.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.successResultOf(self.body.read()), b"last")
        self.failureResultOf(self.body.read(), UpstreamError)

    def test_the_first_byte_is_timed_from_the_sending(self) -> None:
        self.clock.advance(9)
        reading = self.body.read()
        self.clock.advance(0.9)
        self.assertNoResult(reading)
        self.clock.advance(0.2)
        self.failureResultOf(reading, UpstreamTimeoutError)
        self.assertTrue(self.transport.aborted)

    def test_any_byte_begins_the_idle_time_anew(self) -> None:
        for _ in range(10):
            reading = self.body.read()
            self.clock.advance(4.9)
            self.body.dataReceived(b":")
            self.successResultOf(reading)
        reading = self.body.read()
        self.clock.advance(5.1)
        self.failureResultOf(reading, UpstreamTimeoutError)

    def test_one_timer_does_for_the_head_and_the_body(self) -> None:
        asking: Deferred[str] = Deferred()
        expected = self.body.expect(asking)
        (timer,) = self.clock.getDelayedCalls()
        asking.callback("head")
        self.assertEqual(self.successResultOf(expected), "head")
        self.body.read()
        self.assertEqual(self.clock.getDelayedCalls(), [timer])

    def test_a_head_that_does_not_come_is_given_up(self) -> None:
        asking: Deferred[str] = Deferred()
        expected = self.body.expect(asking)
        self.clock.advance(9.9)
        self.assertNoResult(expected)
        self.clock.advance(0.2)
        self.failureResultOf(expected, UpstreamTimeoutError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_head_that_cannot_come_leaves_no_timer(self) -> None:
        for end, kind in ((Deferred.cancel, CancelledError), (lost, ConnectionLost)):
            asking: Deferred[str] = Deferred()
            expected = self.body.expect(asking)
            end(asking)
            self.failureResultOf(expected, kind)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_our_own_slowness_is_not_the_upstreams(self) -> None:
        self.body.dataReceived(b"a")
        self.successResultOf(self.body.read())
        self.clock.advance(3600)
        reading = self.body.read()
        self.clock.advance(4.9)
        self.assertNoResult(reading)
        self.body.dataReceived(b"b")
        self.assertEqual(self.successResultOf(reading), b"b")

    def test_the_idle_time_counts_as_soon_as_the_first_byte_is_here(self) -> None:
        reading = self.body.read()
        self.body.dataReceived(b"a")
        self.successResultOf(reading)
        reading = self.body.read()
        self.clock.advance(5.1)
        self.failureResultOf(reading, UpstreamTimeoutError)

    def test_closing_leaves_no_timer_and_hears_nothing_more(self) -> None:
        reading = self.body.read()
        self.body.dataReceived(b"a")
        self.successResultOf(reading)
        self.body.close()
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.body.dataReceived(b"b")
        self.body.connectionLost(Failure(ConnectionDone()))

    def test_draining_gives_a_finished_answer_a_moment(self) -> None:
        self.body.dataReceived(b"x" * HIGH_WATER_BYTES)
        self.body.drain()
        self.body.close()
        self.assertEqual(self.transport.producerState, "producing")
        self.assertFalse(self.transport.aborted)
        self.clock.advance(DRAIN_SECONDS)
        self.assertTrue(self.transport.aborted)

    def test_a_drained_answer_that_ends_leaves_no_timer(self) -> None:
        self.body.drain()
        self.body.connectionLost(Failure(ResponseDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.transport.aborted)
