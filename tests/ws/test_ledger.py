from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import CancelledRunError, OverloadedError, UpstreamError
from openclaw_twisted.events import RunFailed, RunFinished
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.runs.run import Run
from openclaw_twisted.testing import MemoryRuns, run_request
from openclaw_twisted.ws.ledger import Ended, Entry, Ledger


class LedgerTests(SynchronousTestCase):
    def setUp(self):
        self.runs = MemoryRuns()
        self.runs.clock.advance(1)
        self.ledger = Ledger(self.runs.clock, "agent", keep_seconds=300, max_ended=2)

    def run_with(self, *script: Any, **request: Any) -> Run:
        self.runs.provider.add(script)
        run = self.runs.runner.start(run_request(**request))
        self.addCleanup(run.cancel)
        return run

    def enter(self, key: str, run: Run) -> Entry:
        return self.ledger.enter(key, run, accepted_at=5.0)

    def end_of(self, entry: Entry) -> Ended:
        ended = self.successResultOf(Deferred.fromCoroutine(entry.end()))
        assert isinstance(ended, Ended)
        return ended

    def test_a_run_is_found_while_it_lasts_and_for_a_while_after(self):
        pause = Pause()
        entry = self.enter("k", self.run_with(pause, *reply("hi")))
        self.runs.clock.advance(1000)
        self.assertIs(self.ledger.find("k"), entry)
        self.assertIsNone(entry.ended)
        pause.go_on()
        self.runs.clock.advance(299)
        self.assertIs(self.ledger.find("k"), entry)
        self.runs.clock.advance(1)
        self.assertIsNone(self.ledger.find("k"))

    def test_the_oldest_ended_is_forgotten_first_and_nothing_that_runs(self):
        self.enter("running", self.run_with(Pause()))
        for key in ("a", "b", "c"):
            self.enter(key, self.run_with(*reply(key)))
        found = [key for key in ("running", "a", "b", "c") if self.ledger.find(key)]
        self.assertEqual(found, ["running", "b", "c"])

    def test_how_a_run_ends(self):
        entry = self.enter("k", self.run_with(*reply("hi")))
        outcome = self.end_of(entry).outcome
        assert isinstance(outcome, RunFinished)
        self.assertEqual(outcome.message.content, "hi")

        failed = self.end_of(self.enter("f", self.run_with(UpstreamError("no"))))
        assert isinstance(failed.outcome, RunFailed)
        self.assertEqual((failed.outcome.error.message, failed.stopped), ("no", False))

    def test_whether_a_run_was_stopped(self):
        for reason, stopped in [(CancelledRunError("stop"), True), (OverloadedError("shutting down"), False)]:
            run = self.run_with(Pause())
            entry = self.enter("k", run)
            run.cancel(reason)
            self.assertEqual(self.end_of(entry).stopped, stopped)
        run = self.run_with(Pause(), timeout_seconds=7)
        entry = self.enter("t", run)
        self.runs.clock.advance(7)
        self.assertEqual(
            self.end_of(entry), Ended(outcome=self.end_of(entry).outcome, seconds=7, stopped=True)
        )

    def test_a_run_that_has_ended_is_let_go(self):
        self.runs.provider.add(reply("hi"))
        run = self.runs.runner.start(run_request())
        entry, held = self.enter("k", run), weakref.ref(run)
        del run
        gc.collect()
        self.assertIsNone(held())
        self.assertIsNotNone(entry.ended)

    def test_whoever_waits_may_stop_waiting(self):
        pause = Pause()
        entry = self.enter("k", self.run_with(pause, *reply("hi")))
        waiting, other = (Deferred.fromCoroutine(entry.end()) for _ in range(2))
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertNoResult(other)
        pause.go_on()
        self.assertIs(self.successResultOf(other), entry.ended)

    def test_a_run_that_never_began_took_no_time(self):
        self.run_with(Pause(), key="main")
        waiting = self.run_with(*reply("hi"), key="main")
        entry = self.enter("k", waiting)
        self.runs.clock.advance(9)
        waiting.cancel()
        self.assertEqual(self.end_of(entry).seconds, 0)
