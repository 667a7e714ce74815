from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Batches, ModelRequest, RunRecord, TurnRecord
from openclaw_twisted.content import Message, ToolCall, Usage
from openclaw_twisted.errors import (
    AgentNotFoundError,
    CancelledRunError,
    InternalError,
    NoProviderError,
    OverloadedError,
    StorageError,
    UpstreamError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import (
    Finished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallDelta,
)
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.providers.scripted import Pause, Scripted, reply
from openclaw_twisted.runs.run import Run, RunSummary
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import Collector, MemoryRuns, run_request, user


class RunnerCase(SynchronousTestCase):
    def history(self, runs: MemoryRuns, key: str) -> list[tuple[str, str | tuple[Any, ...], bool]]:
        kept = self.successResultOf(Deferred.fromCoroutine(runs.store.history(key)))
        return [(row.message.role, row.message.content, row.interrupted) for row in kept]

    def record(self, runs: MemoryRuns, run: Run) -> RunRecord:
        kept = self.successResultOf(Deferred.fromCoroutine(runs.store.run(run.request.run_id)))
        assert kept is not None
        return kept


class Answering(RunnerCase):
    def test_a_run_ends_with_its_answer(self) -> None:
        runs = MemoryRuns(reply("Hel", "lo", usage=Usage(3, 2, 5)))
        run = runs.runner.start(run_request(user("hi")))
        finished = self.successResultOf(run.result())
        self.assertEqual(finished.message, Message(role="assistant", content="Hello"))
        self.assertEqual((finished.reason, finished.usage), ("stop", Usage(3, 2, 5)))
        self.assertEqual(run.status, "finished")

    def test_listeners_hear_the_whole_story(self) -> None:
        pause = Pause()
        runs = MemoryRuns([[TextDelta("a")], pause, *reply("b")])
        run = runs.runner.start(run_request())
        listener = Collector()
        run.feed.subscribe(listener)
        pause.go_on()
        kinds = [type(event) for event in listener.events]
        self.assertEqual(kinds, [RunStarted, TextDelta, TextDelta, RunFinished])

    def test_the_system_prompt_is_the_agents(self) -> None:
        runs = MemoryRuns(reply("ok"), system_prompt="You are Ann.")
        runs.runner.start(run_request(user("hi"), instructions=("Be brief.",)))
        asked = runs.provider.requests[0].messages
        self.assertEqual(asked, (Message(role="system", content="You are Ann.\n\nBe brief."), user("hi")))

    def test_a_run_is_found_until_it_ends(self) -> None:
        pause = Pause()
        runs = MemoryRuns([pause, *reply("ok")])
        run = runs.runner.start(run_request())
        self.assertIs(runs.runner.find(run.request.run_id), run)
        pause.go_on()
        self.assertIsNone(runs.runner.find(run.request.run_id))
        self.assertEqual(runs.runner.active(), ())

    def test_waiting_can_be_given_up_without_stopping_the_run(self) -> None:
        pause = Pause()
        runs = MemoryRuns([pause, *reply("ok")])
        run = runs.runner.start(run_request())
        first, second = run.result(), run.result()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        pause.go_on()
        self.assertEqual(self.successResultOf(second).message.content, "ok")


class Sessions(RunnerCase):
    KEY = "agent:main:chat"

    def test_the_next_turn_begins_when_everybody_has_heard_of_the_end(self) -> None:
        for first in (reply("one"), [UpstreamError("no")]):
            pause = Pause()
            heard: list[Any] = []
            runs = MemoryRuns([pause, *first], reply("two"))

            class Listening(Collector):
                def run_events(self, events: Sequence[RunEvent]) -> None:
                    heard.extend(events)  # noqa: B023 - of this round

            runs.runner.watch(lambda run: run.feed.subscribe(Listening()))
            started = [runs.runner.start(run_request(key="chat")) for _ in range(2)]
            runs.bus.watch(lambda change: heard.append(change.reason))  # noqa: B023 - of this round
            pause.go_on()
            self.assertEqual([run.status for run in started][1], "finished")
            second = max(at for at, told in enumerate(heard) if isinstance(told, RunStarted))
            self.assertIsInstance(heard[second - 2], RunFinished | RunFailed)
            self.assertEqual(heard[second - 1], "end")

    def test_the_next_turn_sees_the_last_one(self) -> None:
        runs = MemoryRuns(reply("Hello Ann."), reply("Ann."))
        runs.runner.start(run_request(user("I am Ann."), key=self.KEY))
        runs.runner.start(run_request(user("Who am I?"), key=self.KEY))
        self.assertEqual(
            runs.provider.requests[1].messages,
            (user("I am Ann."), Message(role="assistant", content="Hello Ann."), user("Who am I?")),
        )

    def test_a_client_that_resends_everything_is_not_doubled(self) -> None:
        runs = MemoryRuns(reply("b"), reply("d"))
        runs.runner.start(run_request(user("a"), key=self.KEY))
        runs.runner.start(
            run_request(user("a"), Message(role="assistant", content="b"), user("c"), key=self.KEY)
        )
        self.assertEqual([text for _, text, _ in self.history(runs, self.KEY)], ["a", "b", "c", "d"])

    def test_turns_of_one_session_wait_for_each_other(self) -> None:
        pause = Pause()
        runs = MemoryRuns([pause, *reply("1")], reply("2"))
        first = runs.runner.start(run_request(key=self.KEY))
        second = runs.runner.start(run_request(key=self.KEY))
        self.assertEqual((first.status, second.status), ("running", "queued"))
        pause.go_on()
        self.assertEqual((first.status, second.status), ("finished", "finished"))

    def test_a_turn_is_kept_before_listeners_hear_that_it_finished(self) -> None:
        store = SlowStore()
        runs = MemoryRuns(reply("ok"), store=store)
        run = runs.runner.start(run_request(key=self.KEY))
        listener = Collector()
        run.feed.subscribe(listener)
        self.assertNotIsInstance(listener.events[-1], RunFinished)
        store.kept.callback(None)
        self.assertIsInstance(listener.events[-1], RunFinished)

    def test_stateless_runs_share_nothing_and_are_kept_as_told(self) -> None:
        runs = MemoryRuns(reply("a"), reply("b"))
        first = runs.runner.start(run_request(user("1")))
        runs.runner.start(run_request(user("2")))
        self.assertEqual(runs.provider.requests[1].messages, (user("2"),))
        self.assertEqual(self.record(runs, first).status, "finished")

        none_kept = MemoryRuns(reply("a"), keep_stateless=False)
        run = none_kept.runner.start(run_request())
        self.assertIsNone(
            self.successResultOf(Deferred.fromCoroutine(none_kept.store.run(run.request.run_id)))
        )


class SlowStore(MemoryStore):
    """Commits when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Deferred[None] = Deferred()

    async def commit(self, turn: TurnRecord) -> None:
        await self.kept
        await super().commit(turn)


class BrokenStore(MemoryStore):
    """Has no room left."""

    async def commit(self, turn: TurnRecord) -> None:
        raise StorageError("The disk is full.")


class Failing(RunnerCase):
    KEY = "agent:main:chat"

    def test_a_failure_before_any_text_leaves_the_session_as_it_was(self) -> None:
        runs = MemoryRuns([UpstreamError("no")], reply("ok"))
        run = runs.runner.start(run_request(user("a"), key=self.KEY))
        self.failureResultOf(run.result(), UpstreamError)
        self.assertEqual(run.status, "failed")
        self.assertEqual(self.history(runs, self.KEY), [])
        self.assertEqual(self.record(runs, run).error_code, "upstream_unavailable")
        runs.runner.start(run_request(user("a"), key=self.KEY))
        self.assertEqual(runs.provider.requests[1].messages, (user("a"),))

    def test_half_an_answer_is_kept_as_interrupted(self) -> None:
        runs = MemoryRuns([[TextDelta("half")], UpstreamError("gone")], reply("ok"))
        run = runs.runner.start(run_request(user("a"), key=self.KEY))
        listener = Collector()
        run.feed.subscribe(listener)
        failed = listener.events[-1]
        assert isinstance(failed, RunFailed)
        self.assertEqual(failed.error.code, "upstream_unavailable")
        self.assertEqual(self.history(runs, self.KEY), [("user", "a", False), ("assistant", "half", True)])
        second = runs.runner.start(run_request(user("b"), key=self.KEY))
        self.assertEqual(second.status, "finished")

    def test_an_error_that_is_kept_does_not_keep_the_question(self) -> None:
        class Broken(Scripted):
            async def respond(self, request: ModelRequest) -> Batches:
                raise UpstreamError("It broke off.") from OSError()
                yield ()

        run = MemoryRuns(provider=Broken()).runner.start(run_request(key=self.KEY))
        error = self.failureResultOf(run.result(), UpstreamError).value
        self.assertEqual((error.__traceback__, error.__cause__, error.__context__), (None, None, None))

    def test_results_of_tools_that_come_again_are_answered_again(self) -> None:
        call = Message(role="assistant", tool_calls=(ToolCall("1", "f", "{}"),))
        conversation = (user("a"), call, Message(role="tool", content="42", tool_call_id="1"))
        called = [[ToolCallDelta(0, "1", "f", "{}"), Finished("tool_calls")]]
        runs = MemoryRuns(
            called, [[TextDelta("It is 4")], UpstreamError("It broke off.")], reply("It is 42.")
        )
        for messages in (conversation[:1], conversation, conversation):
            runs.runner.start(run_request(*messages, key="chat")).result().addErrback(lambda _: None)
        self.assertEqual(runs.provider.requests[2].messages, conversation)

    def test_results_of_tools_are_answered_though_somebody_else_has_spoken_meanwhile(self) -> None:
        call = Message(role="assistant", tool_calls=(ToolCall("1", "f", "{}"),))
        result = Message(role="tool", content="42", tool_call_id="1")
        runs = MemoryRuns(
            [[ToolCallDelta(0, "1", "f", "{}"), Finished("tool_calls")]], reply("d"), reply("e")
        )
        for messages in ((user("a"),), (user("c"),), (user("a"), call, result)):
            runs.runner.start(run_request(*messages, key="chat"))
        spoken = (user("a"), user("c"), Message(role="assistant", content="d"))
        self.assertEqual(runs.provider.requests[2].messages, (*spoken, call, result))

    def test_a_defect_is_logged_and_told_without_detail(self) -> None:
        class Defective(Scripted):
            def respond(self, request: Any) -> Any:
                raise ZeroDivisionError("secret detail")

        runner = MemoryRuns(provider=Defective()).runner
        error = self.failureResultOf(runner.start(run_request()).result(), InternalError).value
        self.assertNotIn("secret detail", str(error))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_turn_that_cannot_be_kept_is_not_acknowledged(self) -> None:
        runs = MemoryRuns(reply("ok"), store=BrokenStore())
        run = runs.runner.start(run_request(key=self.KEY))
        self.failureResultOf(run.result(), StorageError)
        self.assertEqual(run.status, "failed")

    def test_what_cannot_work_is_refused_before_it_starts(self) -> None:
        runs = MemoryRuns()
        with self.assertRaises(NoProviderError):
            runs.runner.start(run_request(models=()))
        runner = MemoryRuns(provider=Catalog({})).runner
        with self.assertRaises(AgentNotFoundError):
            runner.start(run_request(models=("nobody/m", "noone/m")))
        self.assertEqual(runner.active(), ())

    def test_one_model_that_could_answer_is_enough_to_start(self) -> None:
        runner = MemoryRuns(provider=Failover(Catalog({"b": Scripted(reply("ok"))}), Clock())).runner
        run = runner.start(run_request(models=("a/m", "b/m")))
        self.assertEqual(run.status, "finished")

    def test_a_failure_that_cannot_be_recorded_is_still_told(self) -> None:
        runs = MemoryRuns([UpstreamError("no")], store=BrokenStore())
        self.failureResultOf(runs.runner.start(run_request(key=self.KEY)).result(), UpstreamError)


class Counting(RunnerCase):
    KEY = "agent:main:chat"

    def setUp(self) -> None:
        self.seen: list[RunSummary] = []

    def times(self) -> list[tuple[str, float, float | None]]:
        return [(summary.status, summary.seconds, summary.first_token_seconds) for summary in self.seen]

    def test_a_run_is_told_whole_when_it_has_ended(self) -> None:
        pauses = Pause(), Pause()
        runs = MemoryRuns(
            [pauses[0], [TextDelta("a")], pauses[1], *reply("b", usage=Usage(3, 2, 5))],
            observe=self.seen.append,
        )
        runs.runner.start(run_request())
        for pause in pauses:
            runs.clock.advance(1)
            self.assertEqual(self.seen, [])
            pause.go_on()
        told = RunSummary(
            agent_id="main",
            status="finished",
            seconds=2.0,
            first_token_seconds=1.0,
            prompt_tokens=3,
            completion_tokens=2,
        )
        self.assertEqual(self.seen, [told])

    def test_waiting_for_a_turn_is_counted_in(self) -> None:
        pause = Pause()
        runs = MemoryRuns([pause, *reply("1")], reply("2"), observe=self.seen.append)
        runs.runner.start(run_request(key=self.KEY))
        runs.clock.advance(1)
        runs.runner.start(run_request(key=self.KEY))
        self.assertEqual((runs.runner.running, runs.runner.waiting), (1, 1))
        runs.clock.advance(1)
        pause.go_on()
        self.assertEqual((runs.runner.running, runs.runner.waiting), (0, 0))
        self.assertEqual(sorted(self.times()), [("finished", 1.0, 1.0), ("finished", 2.0, 2.0)])

    def test_a_run_without_an_answer_has_no_first_token(self) -> None:
        runs = MemoryRuns([UpstreamError("no")], reply(), [Pause()], observe=self.seen.append)
        for _ in range(2):
            runs.runner.start(run_request())
        runs.runner.start(run_request()).cancel()
        self.assertEqual(
            self.times(), [("failed", 0.0, None), ("finished", 0.0, None), ("cancelled", 0.0, None)]
        )


class Stopping(RunnerCase):
    KEY = "agent:main:chat"

    def test_cancelling_closes_the_answer_and_keeps_what_came(self) -> None:
        runs = MemoryRuns([[TextDelta("half")], Pause()])
        run = runs.runner.start(run_request(user("a"), key=self.KEY))
        result = run.result()
        run.cancel()
        run.cancel()
        self.failureResultOf(result, CancelledRunError)
        self.assertEqual(runs.provider.closed, 1)
        self.assertEqual(run.status, "cancelled")
        self.assertEqual(self.history(runs, self.KEY), [("user", "a", False), ("assistant", "half", True)])
        self.assertEqual(self.record(runs, run).status, "cancelled")

    def test_who_hears_of_a_run_may_stop_it_there_and_then(self) -> None:
        for heard, kept in (
            (RunStarted, []),
            (TextDelta, [("user", "a", False), ("assistant", "one", True)]),
        ):
            runs = MemoryRuns([[TextDelta("one")], [TextDelta("two")], *reply("three")])

            def watch(run: Run, heard: type = heard) -> None:
                class Stopper:
                    def run_events(self, events: Sequence[RunEvent]) -> None:
                        if isinstance(events[-1], heard):
                            run.cancel()

                run.feed.subscribe(Stopper())

            runs.runner.watch(watch)
            run = runs.runner.start(run_request(user("a"), key=self.KEY))
            self.failureResultOf(run.result(), CancelledRunError)
            self.assertEqual(run.status, "cancelled")
            self.assertEqual(self.history(runs, self.KEY), kept)
            self.assertEqual(runs.provider.closed, 1 if kept else 0)
            self.assertEqual(runs.runner.active(), ())

    def test_who_watches_may_stop_a_run_before_it_starts(self) -> None:
        runs = MemoryRuns([Pause()], reply("2"))
        first = runs.runner.start(run_request(key=self.KEY))
        runs.runner.watch(Run.cancel)
        waiting = runs.runner.start(run_request(key=self.KEY))
        self.failureResultOf(waiting.result(), CancelledRunError)
        self.assertEqual(runs.runner.active(), (first,))
        first.cancel()
        self.assertEqual(runs.runner.active(), ())

    def test_cancelling_a_queued_run_frees_its_place_in_the_queue(self) -> None:
        pause = Pause()
        runs = MemoryRuns([pause, *reply("1")], reply("3"))
        runs.runner.start(run_request(key=self.KEY))
        second = runs.runner.start(run_request(key=self.KEY))
        third = runs.runner.start(run_request(key=self.KEY))
        second.cancel()
        self.assertEqual(second.status, "cancelled")
        pause.go_on()
        self.assertEqual(third.status, "finished")
        self.assertEqual(len(runs.provider.requests), 2)

    def test_an_ended_run_stays_as_it_ended(self) -> None:
        runs = MemoryRuns(reply("ok"))
        run = runs.runner.start(run_request())
        run.cancel()
        self.assertEqual(run.status, "finished")

    def test_while_its_end_is_stored_it_is_too_late(self) -> None:
        for script, end in ((reply("ok"), "finished"), ([[TextDelta("o")], UpstreamError("no")], "failed")):
            store = SlowStore()
            runs = MemoryRuns(script, store=store)
            run = runs.runner.start(run_request(key=self.KEY, timeout_seconds=60))
            run.result().addErrback(lambda _: None)
            run.cancel()
            runs.clock.advance(61)
            Deferred.fromCoroutine(runs.runner.drain(0))
            runs.clock.advance(0)
            self.assertEqual((run.status, run.stopped_by), ("running", None))
            store.kept.callback(None)
            self.assertEqual((run.status, self.record(runs, run).status), (end, end))

    def test_a_run_that_takes_too_long_fails(self) -> None:
        runs = MemoryRuns([Pause()])
        run = runs.runner.start(run_request(timeout_seconds=60))
        runs.clock.advance(59.9)
        self.assertEqual(run.status, "running")
        runs.clock.advance(0.2)
        self.failureResultOf(run.result(), UpstreamTimeoutError)
        self.assertEqual(run.status, "failed")
        self.assertEqual(runs.provider.closed, 1)

    def test_an_ended_run_leaves_no_timer(self) -> None:
        runs = MemoryRuns(reply("ok"))
        runs.runner.start(run_request(timeout_seconds=60))
        self.assertEqual(runs.clock.getDelayedCalls(), [])


class Audience(RunnerCase):
    def test_the_last_one_who_leaves_ends_the_run(self) -> None:
        runs = MemoryRuns([Pause()])
        run = runs.runner.start(run_request())
        run.join()
        run.join()
        run.leave()
        self.assertEqual(run.status, "running")
        run.leave()
        self.assertEqual(run.status, "cancelled")

    def test_an_ended_run_keeps_its_answer_and_lets_go_of_the_question(self) -> None:
        runs = MemoryRuns(reply("ok"))
        run = runs.runner.start(run_request(user("a" * 1000)))
        self.assertEqual((run.request.messages, run.added), ((), ()))
        listener = Collector()
        run.feed.subscribe(listener)
        self.assertEqual(listener.text, "ok")
        self.assertEqual(self.successResultOf(run.result()).message.content, "ok")


class Draining(RunnerCase):
    def test_nothing_new_is_started(self) -> None:
        runs = MemoryRuns()
        self.successResultOf(Deferred.fromCoroutine(runs.runner.drain(30)))
        with self.assertRaises(OverloadedError):
            runs.runner.start(run_request())

    def test_running_runs_may_finish(self) -> None:
        pause = Pause()
        runs = MemoryRuns([pause, *reply("ok")])
        run = runs.runner.start(run_request())
        draining = Deferred.fromCoroutine(runs.runner.drain(30))
        self.assertNoResult(draining)
        pause.go_on()
        self.successResultOf(draining)
        self.assertEqual(run.status, "finished")
        self.assertEqual(runs.clock.getDelayedCalls(), [])

    def test_who_still_waits_then_is_not_started(self) -> None:
        runs = MemoryRuns([Pause()], [Pause()])
        waiting = [runs.runner.start(run_request(key="chat")) for _ in range(2)]
        Deferred.fromCoroutine(runs.runner.drain(30))
        runs.clock.advance(30)
        self.assertEqual([run.status for run in waiting], ["failed", "failed"])
        self.assertEqual(len(runs.provider.requests), 1)

    def test_who_does_not_finish_in_time_is_stopped(self) -> None:
        runs = MemoryRuns([Pause()], [Pause()])
        running = [runs.runner.start(run_request()) for _ in range(2)]
        draining = Deferred.fromCoroutine(runs.runner.drain(30))
        runs.clock.advance(30)
        self.successResultOf(draining)
        self.assertEqual([run.status for run in running], ["failed", "failed"])
        self.assertEqual(runs.provider.closed, 2)
