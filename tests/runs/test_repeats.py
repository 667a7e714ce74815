import gc
from collections.abc import Sequence
from weakref import ref

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import TurnRecord
from openclaw_twisted.errors import InvalidRequestError, UpstreamError
from openclaw_twisted.events import Finished, RunEvent, RunFinished, TextDelta
from openclaw_twisted.providers.scripted import Pause, Step, reply
from openclaw_twisted.runs.repeats import MAX_KEPT_CHARACTERS, Repeats
from openclaw_twisted.runs.run import Run
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import Collector, MemoryRuns, run_request


class Joining(SynchronousTestCase):
    def setUp(self) -> None:
        self.runs = MemoryRuns()
        self.repeats = Repeats(self.runs.clock, keep_seconds=300, max_kept=2)

    def start(self, key: str, script: list[Step]) -> Run:
        self.runs.provider.add(script)
        run = self.runs.runner.start(run_request())
        self.repeats.enter(key, run, b"digest")
        return run

    def test_a_running_run_is_joined(self) -> None:
        run = self.start("k", [Pause()])
        self.assertIs(self.repeats.find("k", b"digest"), run)
        self.assertIsNone(self.repeats.find("other", b"digest"))
        run.cancel()

    def test_a_finished_run_is_joined_for_a_while(self) -> None:
        run = self.start("k", reply("ok"))
        self.runs.clock.advance(299)
        self.assertIs(self.repeats.find("k", b"digest"), run)
        self.runs.clock.advance(1)
        self.assertIsNone(self.repeats.find("k", b"digest"))

    def test_a_failed_or_cancelled_run_is_not(self) -> None:
        self.start("failed", [UpstreamError("no")])
        self.start("cancelled", [Pause()]).cancel()
        for key in ("failed", "cancelled"):
            self.assertIsNone(self.repeats.find(key, b"digest"))

    def test_a_run_that_is_being_stopped_is_not(self) -> None:
        written: Deferred[None] = Deferred()

        class SlowStore(MemoryStore):
            async def commit(self, turn: TurnRecord) -> None:
                await written

        self.runs = MemoryRuns(store=SlowStore())
        self.runs.provider.add([[TextDelta("so far")], Pause()])
        run = self.runs.runner.start(run_request(key="main"))
        self.repeats.enter("k", run, b"digest")
        run.cancel()
        self.assertEqual(run.status, "running")
        self.assertIsNone(self.repeats.find("k", b"digest"))
        written.callback(None)
        self.assertEqual(run.status, "cancelled")

    def test_a_run_that_somebody_would_stop_at_its_end_has_finished(self) -> None:
        self.runs.provider.add([pause := Pause(), *reply("ok")])
        run = self.runs.runner.start(run_request())
        self.repeats.enter("k", run, b"digest")

        class Leaving(Collector):
            def run_events(self, events: Sequence[RunEvent]) -> None:
                if isinstance(events[-1], RunFinished):
                    run.cancel()

        run.feed.subscribe(Leaving())
        pause.go_on()
        self.assertIsNone(run.stopped_by)
        self.assertIs(self.repeats.find("k", b"digest"), run)

    def test_what_is_forgotten_is_not_joined(self) -> None:
        pause = Pause()
        self.start("k", [pause, *reply("ok")])
        self.start("ended", reply("ok"))
        for key in ("k", "ended", "unknown"):
            self.repeats.forget(key)
        pause.go_on()
        self.runs.clock.advance(300)
        for key in ("k", "ended", "unknown"):
            self.assertIsNone(self.repeats.find(key, b"digest"))

    def test_a_key_stands_for_one_request(self) -> None:
        self.start("k", reply("ok"))
        with self.assertRaises(InvalidRequestError):
            self.repeats.find("k", b"another")

    def test_the_oldest_are_forgotten_first(self) -> None:
        for key in "abc":
            self.start(key, reply(key))
        self.assertEqual([bool(self.repeats.find(key, b"digest")) for key in "abc"], [False, True, True])

    def test_the_oldest_are_forgotten_when_they_said_too_much(self) -> None:
        half = "x" * (MAX_KEPT_CHARACTERS // 2)
        for key, text in (("a", half), ("b", half), ("c", "x")):
            self.start(key, [[TextDelta(text)], [Finished("stop", None)]])
        self.assertEqual([bool(self.repeats.find(key, b"digest")) for key in "abc"], [False, True, True])

    def test_one_that_said_too_much_is_not_kept(self) -> None:
        self.start("a", reply("ok"))
        self.start("b", [[TextDelta("x" * (MAX_KEPT_CHARACTERS + 1))], [Finished("stop", None)]])
        self.start("c", reply("ok"))
        self.assertEqual([bool(self.repeats.find(key, b"digest")) for key in "abc"], [False, False, True])

    def test_they_are_forgotten_in_time_although_nobody_repeats_anything(self) -> None:
        run = ref(self.start("k", reply("ok")))
        self.runs.clock.advance(300)
        self.start("other", reply("ok"))
        gc.collect()
        self.assertIsNone(run())

    def test_a_key_that_is_entered_again_belongs_to_its_new_run(self) -> None:
        pause = Pause()
        first = self.start("k", [pause])
        second = self.start("k", reply("two"))
        first.cancel()
        self.assertIs(self.repeats.find("k", b"digest"), second)
        self.runs.clock.advance(300)
        self.assertIsNone(self.repeats.find("k", b"digest"))
