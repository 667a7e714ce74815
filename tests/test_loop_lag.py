from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.loop_lag import EVERY_SECONDS, LoopLag

__all__ = ["LoopLagTests"]


class LoopLagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.late: list[float] = []
        self.lag = LoopLag(self.clock, self.late.append)

    def test_a_call_in_time_is_not_late(self) -> None:
        self.lag.start()
        self.clock.pump([EVERY_SECONDS] * 3)
        self.assertEqual(self.late, [0.0] * 3)

    def test_a_blocked_loop_is_late_once(self) -> None:
        self.lag.start()
        self.clock.advance(EVERY_SECONDS + 2.5)
        self.clock.advance(EVERY_SECONDS)
        self.assertEqual(self.late, [2.5, 0.0])

    def test_a_clock_that_is_set_back_is_not_a_lag(self) -> None:
        self.lag.start()
        (call,) = self.clock.getDelayedCalls()
        self.clock.rightNow -= 100
        call.reset(0)
        self.clock.advance(0)
        self.assertEqual(self.late, [0.0])

    def test_stopping_leaves_no_timer(self) -> None:
        self.lag.stop()
        self.lag.start()
        self.lag.stop()
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
