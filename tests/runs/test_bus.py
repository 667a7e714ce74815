"""Changes of sessions reach whoever watches."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import SessionChange
from openclaw_twisted.runs.bus import LocalBus

CHANGE = SessionChange(session_key="agent:main:a", agent_id="main", reason="patch", at=7.0)


class LocalBusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bus = LocalBus()

    def test_every_watcher_hears_every_change(self):
        first: list[SessionChange] = []
        second: list[SessionChange] = []
        self.bus.watch(first.append)
        self.bus.announce(CHANGE)
        self.bus.watch(second.append)
        self.bus.announce(CHANGE)
        self.assertEqual((first, second), ([CHANGE, CHANGE], [CHANGE]))

    def test_who_stopped_watching_hears_nothing_more(self):
        heard: list[SessionChange] = []
        stop = self.bus.watch(heard.append)
        other = self.bus.watch(heard.append)
        stop()
        stop()
        self.bus.announce(CHANGE)
        self.assertEqual(heard, [CHANGE])
        other()
        self.bus.announce(CHANGE)
        self.assertEqual(heard, [CHANGE])

    def test_a_watcher_may_stop_while_it_hears(self):
        heard: list[str] = []

        def once(_change: SessionChange) -> None:
            heard.append("once")
            stop()

        stop = self.bus.watch(once)
        self.bus.watch(lambda _change: heard.append("always"))
        self.bus.announce(CHANGE)
        self.bus.announce(CHANGE)
        self.assertEqual(heard, ["once", "always", "always"])

    def test_a_watcher_that_breaks_keeps_the_others_from_nothing(self):
        heard: list[SessionChange] = []
        self.bus.watch(lambda _change: 1 / 0)
        self.bus.watch(heard.append)
        self.bus.announce(CHANGE)
        self.assertEqual(heard, [CHANGE])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
