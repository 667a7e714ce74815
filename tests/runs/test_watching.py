from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import SessionChange
from openclaw_twisted.events import RunFinished, RunStarted, TextDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.runs.run import Run
from openclaw_twisted.testing import Collector, MemoryRuns, run_request


class WatchTests(SynchronousTestCase):
    def setUp(self):
        self.runs = MemoryRuns()
        self.seen: list[tuple[Run, str, Collector]] = []

    def see(self, run: Run) -> None:
        heard = Collector()
        self.seen.append((run, run.status, heard))
        run.feed.subscribe(heard)

    def test_a_run_is_seen_before_it_says_anything(self):
        self.runs.provider.add(reply("Hi"))
        self.runs.runner.watch(self.see)
        started = self.runs.runner.start(run_request())
        ((run, status, heard),) = self.seen
        self.assertIs(run, started)
        self.assertEqual(status, "queued")
        self.assertEqual([type(event) for event in heard.events], [RunStarted, TextDelta, RunFinished])

    def test_who_stops_watching_sees_no_more(self):
        self.runs.provider.add([Pause()], [Pause()])
        stop = self.runs.runner.watch(self.see)
        first = self.runs.runner.start(run_request())
        stop()
        stop()
        second = self.runs.runner.start(run_request())
        self.assertEqual([run for run, _, _ in self.seen], [first])
        for run in (first, second):
            run.cancel()


class AnnouncementTests(SynchronousTestCase):
    def setUp(self):
        self.runs = MemoryRuns()
        self.heard: list[SessionChange] = []
        self.runs.bus.watch(self.heard.append)

    def reasons(self) -> list[str]:
        return [change.reason for change in self.heard]

    def test_a_run_without_a_session_changes_none(self):
        self.runs.provider.add(reply("Hi"))
        self.runs.runner.start(run_request())
        self.assertEqual(self.reasons(), [])

    def test_a_run_that_is_kept(self):
        pause = Pause()
        self.runs.provider.add([pause, *reply("Hi")])
        self.runs.clock.advance(3)
        self.runs.runner.start(run_request(key="a"))
        self.assertEqual(
            self.heard, [SessionChange(session_key="agent:main:a", agent_id="main", reason="start", at=3)]
        )
        self.runs.clock.advance(1)
        pause.go_on()
        self.assertEqual(self.reasons(), ["start", "message", "end"])
        self.assertEqual({change.at for change in self.heard[1:]}, {4})

    def test_when_the_end_is_told_the_run_is_over(self):
        active: list[int] = []
        self.runs.bus.watch(lambda _: active.append(len(self.runs.runner.active())))
        self.runs.provider.add(reply("Hi"))
        self.runs.runner.start(run_request(key="a"))
        self.assertEqual(active, [1, 1, 0])

    def test_a_run_without_any_text_adds_no_message(self):
        self.runs.provider.add([Pause()])
        self.runs.runner.start(run_request(key="a")).cancel()
        self.assertEqual(self.reasons(), ["start", "end"])
