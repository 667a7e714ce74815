from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.runs.wall_clock import AHEAD_SECONDS, BELIEVED_AFTER_SECONDS, WallClock

MONTH = 30 * 86_400.0


class WallClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ahead = 0.0
        self.subject = WallClock(self.clock, lambda: 1e9 + self.ahead + self.clock.seconds())

    def after(self, seconds: float, *, ahead: float) -> bool:
        self.clock.advance(seconds)
        self.ahead = ahead
        return self.subject.is_believed()

    def test_time_passes(self) -> None:
        for _ in range(3):
            self.assertTrue(self.after(MONTH, ahead=0.0))

    def test_a_little_is_set_all_the_time(self) -> None:
        for hours in range(1, 4):
            self.assertTrue(self.after(600, ahead=hours * AHEAD_SECONDS))

    def test_far_ahead_is_believed_when_it_stays(self) -> None:
        self.assertFalse(self.after(600, ahead=MONTH))
        self.assertFalse(self.after(BELIEVED_AFTER_SECONDS - 1, ahead=MONTH + 1))
        self.assertTrue(self.after(1, ahead=MONTH))
        self.assertTrue(self.after(600, ahead=MONTH))

    def test_further_and_further_is_not(self) -> None:
        for months in range(1, 5):
            self.assertFalse(self.after(BELIEVED_AFTER_SECONDS, ahead=months * MONTH))

    def test_what_was_set_back_counts_from_there(self) -> None:
        self.assertFalse(self.after(600, ahead=MONTH))
        self.assertTrue(self.after(600, ahead=0.0))
        self.assertFalse(self.after(BELIEVED_AFTER_SECONDS, ahead=MONTH))
        self.assertTrue(self.after(600, ahead=-MONTH))
        self.assertFalse(self.after(600, ahead=0.0))
