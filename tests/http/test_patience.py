"""Clients that take too long to say what they want."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.http.patience import Alarm, Patience, Waiting
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import LoopbackDoor
from tests.http.test_admission import BODY, Wire, error_in

__all__ = ["AlarmTests", "InMemory", "OnTheWire", "PatienceTests"]

LIMITS = LimitsSettings(
    header_deadline_seconds=10, body_idle_seconds=15, body_deadline_seconds=40, connection_idle_seconds=75
)
HEAD, BODY_OF, NEXT, NOTHING = Waiting.HEAD, Waiting.BODY, Waiting.NEXT_REQUEST, Waiting.NOTHING


class PatienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.patience = Patience(LIMITS, self.clock.seconds)

    def left_after(self, seconds: float, waiting: Waiting) -> float | None:
        self.clock.advance(seconds)
        return self.patience.left(waiting)

    def test_no_byte_renews_the_time_for_a_head(self) -> None:
        self.assertEqual([self.left_after(4, HEAD) for _ in range(3)], [6, 2, 0])

    def test_a_byte_renews_the_silence_of_a_body_but_not_its_time(self) -> None:
        self.assertEqual(self.left_after(0, BODY_OF), 15)
        self.assertEqual([self.left_after(14, BODY_OF) for _ in range(3)], [15, 12, 0])

    def test_an_answer_takes_as_long_as_it_takes(self) -> None:
        self.assertIsNone(self.left_after(0, NOTHING))

    def test_each_request_has_its_own_time(self) -> None:
        self.left_after(9, BODY_OF)
        self.left_after(9, NOTHING)
        self.assertEqual(self.left_after(100, NEXT), 75)
        self.assertEqual(self.left_after(70, HEAD), 10)
        self.assertEqual(self.left_after(1, BODY_OF), 15)


class AlarmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rang_at: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.rang_at.append(self.clock.seconds()))

    def test_the_last_word_counts(self) -> None:
        self.alarm.set(10)
        self.clock.advance(9)
        self.alarm.set(10)
        self.clock.pump([1] * 30)
        self.assertEqual((self.rang_at, self.alarm.is_set), ([19], False))

    def test_sooner(self) -> None:
        self.alarm.set(10)
        self.alarm.set(3)
        self.clock.pump([1] * 30)
        self.assertEqual(self.rang_at, [3])

    def test_called_off_and_on_again(self) -> None:
        self.alarm.set(10)
        self.alarm.set(None)
        self.assertFalse(self.alarm.is_set)
        self.clock.advance(5)
        self.alarm.set(2)
        self.clock.pump([1] * 30)
        self.assertEqual(self.rang_at, [7])

    def test_called_off_it_rings_never_and_costs_one_timer(self) -> None:
        for _ in range(3):
            self.alarm.set(10)
            self.alarm.set(None)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(30)
        self.assertEqual((self.rang_at, self.clock.getDelayedCalls()), ([], []))

    def test_it_leaves_nothing_behind(self) -> None:
        self.alarm.set(10)
        self.alarm.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Pipe(StringTransport):
    """A transport in memory that can be closed by halves."""

    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class InMemory(Wire):
    """A connection that is fed by hand, and a clock that is moved by hand."""

    def open_with(self, *scripts: Any, **limits: float) -> None:
        self.clock = Clock()
        self.door = door = LoopbackDoor({"gateway": {"limits": limits}}, *scripts, clock=self.clock)
        self.addCleanup(lambda: Deferred.fromCoroutine(door.stop()))

    def connect_pipe(self) -> tuple[Any, Pipe]:
        clock, before = self.clock, len(self.clock.getDelayedCalls())
        channel = self.door.site.buildProtocol(None)
        pipe = Pipe()
        channel.makeConnection(pipe)

        def hang_up() -> None:
            channel.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(len(clock.getDelayedCalls()), before)

        self.addCleanup(hang_up)
        return channel, pipe

    def drip(self, data: bytes, *, every_seconds: float, times: int) -> tuple[bytes, float]:
        """Send `data`, then a byte now and then; return the answer, and when it came."""
        channel, pipe = self.connect_pipe()
        channel.dataReceived(data)
        for _ in range(times):
            if pipe.value():
                break
            self.clock.advance(every_seconds)
            channel.dataReceived(b"y")
        return pipe.value(), self.clock.seconds()

    def counted(self, reason: str) -> float | None:
        registry = self.door.metrics.registry
        return registry.get_sample_value("openclaw_dropped_connections_total", {"reason": reason})

    def test_a_head_that_never_ends(self) -> None:
        for begin in (b"", b"GET /", b"GET / HTTP/1.1\r\nx: "):
            self.open_with()
            answer, at = self.drip(begin, every_seconds=1, times=100)
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
            self.assertEqual(at, 10)
            self.assertIn(b"connection: close", answer)
            self.assertEqual(error_in(answer)["code"], "request_timeout")
            self.assertEqual(self.counted("slow_head"), 1)

    def test_who_says_nothing_hears_nothing(self) -> None:
        for silence in (b"", b"\r\n"):
            self.open_with()
            channel, pipe = self.connect_pipe()
            channel.dataReceived(silence)
            self.clock.advance(9.9)
            self.assertFalse(pipe.disconnecting)
            self.clock.advance(0.2)
            self.assertEqual((pipe.value(), pipe.disconnecting), (b"", True))

    def test_a_body_that_never_ends(self) -> None:
        for framing, begin in (("content-length: 9999", b""), ("transfer-encoding: chunked", b"fff\r\n")):
            self.open_with(bodyDeadlineSeconds=40)
            head = self.head("content-type: application/json", framing)
            answer, at = self.drip(head + begin, every_seconds=2, times=100)
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
            self.assertEqual(at, 40)

    def test_a_body_that_stops(self) -> None:
        self.open_with()
        channel, pipe = self.connect_pipe()
        channel.dataReceived(self.head("content-type: application/json", "content-length: 9") + b"{")
        self.clock.advance(14.9)
        self.assertEqual(pipe.value(), b"")
        self.clock.advance(0.2)
        self.assertTrue(pipe.value().startswith(b"HTTP/1.1 408 "))
        self.assertIn(b"x-request-id: ", pipe.value().lower())
        self.assertEqual((pipe.half_closed, pipe.disconnected), (True, False))
        self.assertEqual(self.counted("slow_body"), 1)
        labels = {"route": "POST /v1/chat/completions", "status": "408"}
        registry = self.door.metrics.registry
        self.assertEqual(registry.get_sample_value("openclaw_http_responses_total", labels), 1)
        self.clock.advance(2.1)
        self.assertTrue(pipe.disconnected)

    def test_a_refused_body_that_stops_is_told_why_it_was_refused(self) -> None:
        self.open_with()
        channel, pipe = self.connect_pipe()
        channel.dataReceived(b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")
        self.clock.advance(15)
        self.assertTrue(pipe.value().startswith(b"HTTP/1.1 404 "), pipe.value())

    async def test_between_requests_only_the_idle_time_counts(self) -> None:
        self.open_with()
        channel, pipe = self.connect_pipe()
        for count in range(1, 4):
            channel.dataReceived(b"GET /health HTTP/1.1\r\n")
            self.clock.advance(9)
            channel.dataReceived(b"host: localhost\r\n\r\n")
            self.assertEqual(pipe.value().count(b"HTTP/1.1 200 "), count)
            self.clock.advance(74)
            self.assertFalse(pipe.disconnecting)
        self.clock.advance(1)
        self.assertTrue(pipe.disconnecting)
        self.assertEqual(pipe.value().count(b"HTTP/1.1 "), 3)

    def test_a_head_right_behind_another_request_has_its_time_too(self) -> None:
        self.open_with()
        channel, pipe = self.connect_pipe()
        whole = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
        self.clock.advance(9)
        channel.dataReceived(whole + whole[:9])
        self.clock.advance(9.9)
        self.assertNotIn(b"HTTP/1.1 408 ", pipe.value())
        self.clock.advance(0.2)
        self.assertIn(b"HTTP/1.1 408 ", pipe.value())

    def test_a_connection_that_is_gone_is_forgotten_at_once(self) -> None:
        self.open_with()
        gc.disable()  # which would find it later, among much else
        self.addCleanup(gc.enable)
        channel = self.door.site.buildProtocol(None)
        pipe = Pipe()
        channel.makeConnection(pipe)
        channel.dataReceived(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        pipe.unregisterProducer()  # as a socket that is closed does
        channel.connectionLost(Failure(ConnectionDone()))
        gone = weakref.ref(channel)
        del channel
        self.assertIsNone(gone())

    async def test_a_slow_answer_is_no_slow_request(self) -> None:
        pause = Pause()
        self.open_with([pause, *reply("ok")])
        channel, pipe = self.connect_pipe()
        framing = ("content-type: application/json", f"content-length: {len(BODY)}")
        channel.dataReceived(self.head(*framing) + BODY)
        await self.until(lambda: pause.reached)
        self.clock.advance(1000)
        pause.go_on()
        await self.until(lambda: b"HTTP/1.1 200 " in pipe.value())


class OnTheWire(Wire):
    """The same on real connections, with limits of a moment."""

    async def test_a_slow_head_and_a_slow_body_are_answered_and_closed(self) -> None:
        self.open(settings={"gateway": {"limits": {"headerDeadlineSeconds": 0.05, "bodyIdleSeconds": 0.05}}})
        slow_body = self.head("content-type: application/json", "content-length: 9") + b"{"
        for request in (slow_body[:9], slow_body):
            self.assertTrue((await self.send(request)).startswith(b"HTTP/1.1 408 "), request)
        self.assertEqual(await self.send(b""), b"")
