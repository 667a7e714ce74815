from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.errors import UpstreamError, UpstreamTimeoutError
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta
from openclaw_twisted.providers.deadline import within
from openclaw_twisted.providers.scripted import Pause, Scripted, Step, reply
from openclaw_twisted.testing import user

__all__ = ["DeadlineTests"]

LIMIT_SECONDS = 10.0


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.heard: list[ProviderEvent] = []

    def listen(self, *script: Step) -> Deferred[None]:
        self.provider = Scripted(script)
        return Deferred.fromCoroutine(self._listen())

    async def _listen(self) -> None:
        batch: Sequence[ProviderEvent]
        answer = self.provider.respond(ModelRequest(model="m", messages=(user("hi"),)))
        async for batch in within(answer, LIMIT_SECONDS, clock=self.clock, words="too long"):
            self.heard += batch

    def test_an_answer_in_time_is_passed_on_and_no_timer_is_left(self) -> None:
        self.successResultOf(self.listen(*reply("a", "b")))
        self.assertEqual(self.heard, [TextDelta("a"), TextDelta("b"), Finished("stop")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_limit_is_for_the_whole_answer(self) -> None:
        pauses = [Pause(), Pause(), Pause()]
        listening = self.listen(pauses[0], [TextDelta("a")], pauses[1], [TextDelta("b")], pauses[2])
        for pause in pauses[:2]:
            self.clock.advance(LIMIT_SECONDS * 0.4)
            pause.go_on()
        self.assertEqual(self.heard, [TextDelta("a"), TextDelta("b")])
        self.clock.advance(LIMIT_SECONDS * 0.1)
        self.assertNoResult(listening)
        self.clock.advance(LIMIT_SECONDS * 0.1)
        self.assertEqual(str(self.failureResultOf(listening, UpstreamTimeoutError).value), "too long")
        self.assertEqual((pauses[2].cancelled, self.provider.closed), (True, 1))

    def test_a_failure_is_passed_on(self) -> None:
        self.failureResultOf(self.listen(UpstreamError("broken")), UpstreamError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_stops_listening_stops_the_answer(self) -> None:
        pause = Pause()
        listening = self.listen(pause)
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.assertEqual((pause.cancelled, self.provider.closed), (True, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
