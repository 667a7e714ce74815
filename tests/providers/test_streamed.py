"""An answer that is handed to a taker: through every layer that a provider's answers pass, on a clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from openclaw_twisted.boundaries import Batches, ModelRequest, Taker
from openclaw_twisted.errors import GatewayError, UpstreamError, UpstreamTimeoutError
from openclaw_twisted.events import Finished, ModelAnswering, ProviderEvent, TextDelta
from openclaw_twisted.providers.answer import HIGH_WATER_BYTES, Answer, Body, Timeouts
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.deadline import within
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.providers.streamed import streamed
from openclaw_twisted.testing import user

__all__ = ["TakerTests"]

IDLE_SECONDS = 5.0
LIMIT_SECONDS = 60.0


class Transport(StringTransport):
    closed = False

    def stopProducing(self) -> None:
        self.closed = True


class Words:
    """Each piece is a text; one with a full stop is the last, one with an exclamation mark is none."""

    def __init__(self) -> None:
        self.finished = False
        self.secrets: tuple[str, ...] = ()

    def feed(self, data: bytes) -> list[ProviderEvent]:
        if data.endswith(b"!"):
            raise UpstreamError("no answer")
        self.finished = data.endswith(b".")
        last = [Finished("stop")] if self.finished else []
        return [TextDelta(data.decode()), *last] if data != b":" else []

    def end(self) -> list[ProviderEvent]:
        raise UpstreamError("too early")


class Ending(Words):
    """The end of the body is the end of the answer."""

    def end(self) -> list[ProviderEvent]:
        self.finished = True
        return [Finished("length")]


class Head:
    status = 200

    def header(self, name: bytes) -> None: ...


class TakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        timeouts = Timeouts(first_byte_seconds=IDLE_SECONDS, idle_seconds=IDLE_SECONDS)
        self.body = Body(self.clock, timeouts, name="mock", sent_at=0.0)
        self.body.makeConnection(self.transport)
        self.reader = Words()
        self.yielded: list[ProviderEvent] = []
        self.taken: list[ProviderEvent] = []
        self.failures: list[str] = []
        self.held_up: Deferred[None] | None = None
        self.trouble: Exception | None = None

    def check(self, model: str) -> None: ...

    def respond(self, request: ModelRequest) -> Batches:
        answer = streamed(self.answer, name="mock", reader=self.reader)
        return within(answer, LIMIT_SECONDS, clock=self.clock, words="too long")

    async def answer(self) -> Answer:
        head: Any = Head()
        return Answer(head, self.body)

    def ask(self) -> Deferred[None]:
        asking = Deferred.fromCoroutine(self._ask())
        self.say(b"one ")
        return asking

    async def _ask(self) -> None:
        failover = Failover(Catalog({"a": self}), self.clock, observe=self._failed)
        batches = failover.respond(ModelRequest(model="a/m", messages=(user("hi"),)))
        taker: Taker | None = None
        try:
            while True:
                self.yielded += await batches.asend(taker)
                taker = self.take
        except StopAsyncIteration:
            return
        finally:
            await batches.aclose()

    def take(self, events: Sequence[ProviderEvent]) -> Deferred[None] | None:
        self.taken += events
        if self.trouble is not None:
            raise self.trouble
        return self.held_up

    def _failed(self, _model: str, _error: GatewayError, then: str) -> None:
        self.failures.append(then)

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.body.dataReceived(piece)

    def end(self, reason: Exception | None = None) -> None:
        self.body.connectionLost(Failure(reason or ResponseDone()))

    def test_what_follows_the_first_batch_is_handed_over(self) -> None:
        asking = self.ask()
        self.say(b"two ", b":", b"three.")
        self.end()
        self.successResultOf(asking)
        self.assertEqual(self.yielded, [ModelAnswering("a/m"), TextDelta("one ")])
        self.assertEqual(self.taken, [TextDelta("two "), TextDelta("three."), Finished("stop")])
        self.assertEqual((self.transport.closed, self.clock.getDelayedCalls()), (False, []))

    def test_who_is_held_up_is_not_told_more_and_then_the_connection_is_not_read_on(self) -> None:
        asking = self.ask()
        self.held_up = Deferred()
        self.say(b"two ")
        for step in range(3):
            held_up, self.held_up = self.held_up, Deferred() if step < 2 else None
            self.say(b"x" * HIGH_WATER_BYTES)
            self.assertEqual((len(self.taken), self.transport.producerState), (step + 1, "paused"))
            assert held_up is not None
            held_up.callback(None)
            self.assertEqual((len(self.taken), self.transport.producerState), (step + 2, "producing"))
        self.say(b"end.")
        self.successResultOf(asking)

    def test_the_time_it_is_held_up_is_not_the_upstreams(self) -> None:
        asking = self.ask()
        held_up: Deferred[None] = Deferred()
        self.held_up = held_up
        self.say(b"two ")
        self.held_up = None
        self.clock.advance(IDLE_SECONDS * 2)
        held_up.callback(None)
        self.clock.advance(IDLE_SECONDS * 0.9)
        self.say(b"end.")
        self.successResultOf(asking)

    def test_an_answer_that_its_body_ends(self) -> None:
        self.reader = Ending()
        asking = self.ask()
        self.say(b"two ")
        self.end()
        self.successResultOf(asking)
        self.assertEqual((self.taken, self.yielded[-1]), ([TextDelta("two ")], Finished("length")))

    def test_what_goes_wrong_is_heard_by_those_between(self) -> None:
        for trouble in (lambda: self.say(b"no!"), self.end, lambda: self.end(ConnectionLost())):
            self.setUp()
            asking = self.ask()
            self.say(b"two ")
            trouble()
            self.failureResultOf(asking, UpstreamError)
            self.assertEqual((self.taken, self.failures), ([TextDelta("two ")], ["give up"]))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        asking = self.ask()
        for _ in range(3):
            self.clock.advance(IDLE_SECONDS * 0.9)
            self.say(b":")
        self.assertNoResult(asking)
        self.clock.advance(IDLE_SECONDS * 1.1)
        self.failureResultOf(asking, UpstreamTimeoutError)
        self.assertEqual((self.transport.closed, self.clock.getDelayedCalls()), (True, []))

    def test_the_limit_for_the_whole_answer(self) -> None:
        asking = self.ask()
        while self.clock.seconds() < LIMIT_SECONDS:
            self.say(b"more ")
            self.clock.advance(1)
        self.assertIn("too long", str(self.failureResultOf(asking, UpstreamTimeoutError).value))
        self.assertTrue(self.transport.closed)

    def test_what_the_taker_raises_ends_it(self) -> None:
        asking = self.ask()
        self.trouble = CancelledError()
        self.say(b"two ", b"three ")
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((self.taken, self.transport.closed), ([TextDelta("two ")], True))
        self.assertEqual((self.failures, self.clock.getDelayedCalls()), ([], []))

    def test_who_stops_listening_closes_the_connection(self) -> None:
        asking = self.ask()
        self.say(b"two ")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.say(b"three ")
        self.assertEqual((self.taken, self.transport.closed), ([TextDelta("two ")], True))
        self.assertEqual(self.clock.getDelayedCalls(), [])
