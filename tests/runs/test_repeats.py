from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import InvalidRequestError, UpstreamError
from openclaw_twisted.providers.scripted import Pause, Step, reply
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.runs.run import Run
from openclaw_twisted.testing import MemoryRuns, run_request


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

    def test_a_key_stands_for_one_request(self) -> None:
        self.start("k", reply("ok"))
        with self.assertRaises(InvalidRequestError):
            self.repeats.find("k", b"another")

    def test_the_oldest_are_forgotten_first(self) -> None:
        for key in "abc":
            self.start(key, reply(key))
        self.assertEqual([bool(self.repeats.find(key, b"digest")) for key in "abc"], [False, True, True])

    def test_a_key_that_is_entered_again_belongs_to_its_new_run(self) -> None:
        pause = Pause()
        first = self.start("k", [pause])
        second = self.start("k", reply("two"))
        first.cancel()
        self.assertIs(self.repeats.find("k", b"digest"), second)
        self.runs.clock.advance(300)
        self.assertIsNone(self.repeats.find("k", b"digest"))
