"""Who repeats a request after a restart finds what became of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Claim, RunRecord
from openclaw_twisted.content import Message, ToolCall, Usage
from openclaw_twisted.errors import (
    CancelledRunError,
    InternalError,
    InterruptedRunError,
    InvalidRequestError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, RunFinished, RunStarted, TextDelta, ToolCallDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.runs.recall import Recall
from openclaw_twisted.runs.run import Run
from openclaw_twisted.testing import Collector, MemoryRuns, run_request, user

CLAIM = Claim(scope="s", key="k", digest=b"d")
KEY = "agent:main:chat"


class RecallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def ran(self, *script: Any, key: str | None = KEY) -> MemoryRuns:
        runs = MemoryRuns(script[0] if len(script) == 1 else list(script), clock=self.clock)
        self.run_before = runs.runner.start(run_request(user("a"), key=key, claim=CLAIM))
        self.addCleanup(self.run_before.cancel)
        return runs

    def recalled(self, runs: MemoryRuns, claim: Claim = CLAIM) -> Run | None:
        recall = Recall(runs.store, self.clock, keep_seconds=300)
        return self.successResultOf(Deferred.fromCoroutine(recall.find(claim)))

    def found(self, runs: MemoryRuns) -> Run:
        run = self.recalled(runs)
        assert run is not None
        return run

    def test_a_finished_run_is_told_again(self) -> None:
        calls = [[ToolCallDelta(0, "c1", "look", "{}")], [Finished("tool_calls", Usage(3, 2, 5))]]
        runs = self.ran([TextDelta("Hel")], [TextDelta("lo")], *calls)
        self.clock.advance(9)
        run = self.found(runs)
        before = self.successResultOf(self.run_before.result())
        self.assertEqual(self.successResultOf(run.result()), before)
        self.assertEqual((run.status, run.error), ("finished", None))
        self.assertEqual(run.request.run_id, self.run_before.request.run_id)
        self.assertEqual(run.request.session_key, self.run_before.request.session_key)
        self.assertEqual(run.reply.message(), before.message)
        heard = Collector()
        run.feed.subscribe(heard)
        self.assertEqual([type(event) for event in heard.events][1:], [TextDelta, ToolCallDelta, RunFinished])
        self.assertIsInstance(heard.events[0], RunStarted)
        self.assertEqual(
            before.message,
            Message(role="assistant", content="Hello", tool_calls=(ToolCall("c1", "look", "{}"),)),
        )

    def test_a_request_without_a_session_is_kept_for_its_key(self) -> None:
        runs = self.ran(reply("ok"), key=None)
        self.assertEqual(self.found(runs).reply.text, "ok")

    def test_a_run_that_the_stop_cut_off_says_so(self) -> None:
        runs = self.ran([Pause()])
        for work in (runs.store.close(), runs.store.open()):
            self.successResultOf(Deferred.fromCoroutine(work))
        run = self.found(runs)
        self.assertIsInstance(run.error, InterruptedRunError)
        self.failureResultOf(run.result(), InterruptedRunError)
        self.assertEqual(run.status, "failed")

    def test_a_run_that_is_under_way_is_not_from_before(self) -> None:
        self.assertIsNone(self.recalled(self.ran([Pause()])))

    def test_a_failure_is_the_same_failure(self) -> None:
        runs = self.ran([UpstreamTimeoutError("too slow")])
        error = self.found(runs).error
        self.assertIsInstance(error, UpstreamTimeoutError)
        self.assertEqual(error and error.message, "too slow")

    def test_a_run_that_was_stopped_is_known_as_stopped(self) -> None:
        runs = self.ran([Pause()])
        self.run_before.cancel(CancelledRunError("Stopped by me."))
        run = self.found(runs)
        self.assertIsInstance(run.stopped_by, CancelledRunError)

    def test_an_error_of_another_version_is_an_error(self) -> None:
        runs = MemoryRuns(clock=self.clock)
        record = RunRecord(
            run_id="r",
            session_key=KEY,
            agent_id="main",
            model="m",
            status="failed",
            started_at=0.0,
            error_code="of_tomorrow",
        )
        self.successResultOf(Deferred.fromCoroutine(runs.store.begin(record, CLAIM)))
        self.assertIsInstance(self.found(runs).error, InternalError)

    def test_another_request_of_that_key_is_refused(self) -> None:
        runs = self.ran(reply("ok"))
        recall = Recall(runs.store, self.clock, keep_seconds=300)
        other = Claim(scope="s", key="k", digest=b"other")
        self.failureResultOf(Deferred.fromCoroutine(recall.find(other)), InvalidRequestError)
        self.assertIsNone(self.recalled(runs, Claim(scope="t", key="k", digest=b"d")))

    def test_the_store_is_asked_for_a_while_only(self) -> None:
        runs = self.ran(reply("ok"))
        recall = Recall(runs.store, self.clock, keep_seconds=300)
        self.successResultOf(Deferred.fromCoroutine(runs.store.close()))
        self.clock.advance(301)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(recall.find(CLAIM))))
