"""Places and the queue for them, without a network."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import UpstreamOverloadedError
from openclaw_twisted.providers.capacity import RETRY_AFTER_SECONDS, Capacity

__all__ = ["CapacityTests"]


class CapacityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.capacity = Capacity(2, 1, name="mock", key="the.key")

    def enter(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.capacity.enter())

    def test_places_then_a_queue_then_a_refusal(self) -> None:
        for _ in range(2):
            self.successResultOf(self.enter())
        self.capacity.check()
        waiting = self.enter()
        self.assertNoResult(waiting)
        error = self.failureResultOf(self.enter(), UpstreamOverloadedError).value
        assert isinstance(error, UpstreamOverloadedError)
        self.assertEqual(error.retry_after_seconds, RETRY_AFTER_SECONDS)
        self.assertIn("mock answers 2 requests at a time, and 1 wait already", error.message)
        self.assertIn("the.key", error.message)
        self.assertRaises(UpstreamOverloadedError, self.capacity.check)
        self.capacity.leave()
        self.successResultOf(waiting)
        self.assertEqual(self.capacity.waiting, 0)

    def test_whoever_gives_up_leaves_the_queue(self) -> None:
        for _ in range(2):
            self.successResultOf(self.enter())
        waiting = self.enter()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.capacity.check()
        self.assertNoResult(following := self.enter())
        self.capacity.leave()
        self.successResultOf(following)

    def test_without_a_queue_nobody_waits(self) -> None:
        self.capacity = Capacity(1, 0, name="mock", key="the.key")
        self.capacity.check()
        self.successResultOf(self.enter())
        self.failureResultOf(self.enter(), UpstreamOverloadedError)
        self.capacity.leave()
        self.capacity.check()
