"""A turn begins with its session as it stands."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Claim, RunRecord, Sampling, SessionChange, SessionPatch, SessionRow
from openclaw_twisted.config.settings import ResetSettings
from openclaw_twisted.content import Message, ToolCall, Usage, estimated_tokens
from openclaw_twisted.errors import AgentNotFoundError, ContextLengthError, InternalError
from openclaw_twisted.events import Finished, ToolCallDelta
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.scripted import Scripted, reply
from openclaw_twisted.runs.fresh import GREETING
from openclaw_twisted.runs.opening import SessionRules
from openclaw_twisted.testing import MemoryRuns, run_request, user

KEY = "agent:main:chat"
LONG = "x" * 3500


class OpeningCase(SynchronousTestCase):
    def begin(self, *scripts: Any, **rules: Any) -> MemoryRuns:
        runs = MemoryRuns(*scripts, rules=SessionRules(**rules))
        self.heard: list[SessionChange] = []
        runs.bus.watch(self.heard.append)
        return runs

    def do(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def ask(self, runs: MemoryRuns, *messages: Message, **more: Any) -> Any:
        run = runs.runner.start(run_request(*messages, key=KEY, **more))
        return self.successResultOf(run.result())

    def texts(self, runs: MemoryRuns, question: int = -1) -> list[Any]:
        return [message.content for message in runs.provider.requests[question].messages]

    def row(self, runs: MemoryRuns) -> SessionRow:
        row = self.do(runs.store.session(KEY))
        assert isinstance(row, SessionRow)
        return row

    def reasons(self) -> list[str]:
        return [change.reason for change in self.heard]


class FreshTests(OpeningCase):
    def test_a_trigger_begins_another_conversation(self) -> None:
        runs = self.begin(reply("1"), reply("2"), triggers=("/new",))
        self.ask(runs, user("a"))
        before = self.row(runs)
        self.ask(runs, user("a"), Message(role="assistant", content="1"), user("/new b"))
        self.assertEqual(self.texts(runs), ["b"])
        self.assertNotEqual(self.row(runs).session_id, before.session_id)
        self.assertEqual(self.reasons(), ["start", "message", "end", "start", "reset", "message", "end"])

    def test_a_trigger_alone_is_answered_with_a_greeting(self) -> None:
        runs = self.begin(reply("1"), reply("Hello!"), reply("3"), triggers=("/new",))
        self.ask(runs, user("a"))
        self.ask(runs, user("/new"))
        self.assertEqual(self.texts(runs), [GREETING, "/new"])
        self.ask(runs, user("b"))
        self.assertEqual(self.texts(runs), ["/new", "Hello!", "b"])

    def test_without_a_session_there_is_nothing_to_begin_anew(self) -> None:
        runs = self.begin(reply("1"), triggers=("/new",))
        runs.runner.start(run_request(user("/new b")))
        self.assertEqual(self.texts(runs), ["/new b"])

    def test_a_client_that_resends_everything_does_not_bring_the_past_back(self) -> None:
        runs = self.begin(reply("1"), reply("2"), reset=ResetSettings(mode="idle", idle_minutes=1))
        self.ask(runs, user("a"))
        runs.clock.advance(61)
        self.ask(runs, user("a"), Message(role="assistant", content="1"), user("b"))
        self.assertEqual(self.texts(runs), ["b"])
        self.assertIn("reset", self.reasons())

    def test_who_names_what_to_go_on_from_goes_on_however_late(self) -> None:
        runs = self.begin(reply("1"), reply("2"), reset=ResetSettings(mode="idle", idle_minutes=1))
        self.ask(runs, user("a"))
        runs.clock.advance(61)
        self.ask(runs, user("b"), appends=True)
        self.assertEqual(self.texts(runs), ["a", "1", "b"])

    def test_a_conversation_that_is_not_over_goes_on(self) -> None:
        runs = self.begin(reply("1"), reply("2"), reset=ResetSettings(mode="idle", idle_minutes=1))
        self.ask(runs, user("a"))
        runs.clock.advance(60)
        self.ask(runs, user("b"))
        self.assertEqual(self.texts(runs), ["a", "1", "b"])

    def test_a_session_in_which_nothing_was_said_stays_what_it_is(self) -> None:
        runs = self.begin(reply("1"), triggers=("/new",), reset=ResetSettings(mode="idle", idle_minutes=1))
        self.do(runs.store.patch(KEY, SessionPatch(label="x"), 0.0))
        before = self.row(runs)
        runs.clock.advance(61)
        self.ask(runs, user("/new a"))
        self.assertEqual(self.row(runs).session_id, before.session_id)
        self.assertNotIn("reset", self.reasons())


class ResendingTests(OpeningCase):
    """Clients that send their whole conversation each time, and use its session for errands of their own."""

    SO_FAR = (user("a"), Message(role="assistant", content="1"))

    def test_the_model_knows_what_the_client_sends_and_nothing_else(self) -> None:
        runs = self.begin(*map(reply, "1t2"))
        self.ask(runs, user("a"), resends=True)
        self.ask(runs, user("Write a title"), resends=True)
        self.assertEqual(self.texts(runs), ["Write a title"])
        self.ask(runs, *self.SO_FAR, user("b"), resends=True)
        self.assertEqual(self.texts(runs), ["a", "1", "b"])
        kept = self.do(runs.store.history(KEY))
        self.assertEqual([row.message.content for row in kept], ["a", "1", "Write a title", "t", "b", "2"])

    def test_what_is_too_long_for_the_model_goes_first(self) -> None:
        runs = self.begin(reply("1"), reply("2"), context_tokens=lambda _model: 2000)
        self.ask(runs, user("a"), resends=True)
        long = (user(LONG), Message(role="assistant", content=LONG))
        self.ask(runs, *long, *self.SO_FAR, user("b"), resends=True)
        self.assertEqual(self.texts(runs), ["a", "1", "b"])

    def test_a_command_begins_another_conversation_all_the_same(self) -> None:
        runs = self.begin(reply("1"), reply("2"), triggers=("/new",))
        self.ask(runs, user("a"), resends=True)
        self.ask(runs, *self.SO_FAR, user("/new b"), resends=True)
        self.assertEqual(self.texts(runs), ["b"])


class ChoiceTests(OpeningCase):
    def choose(self, runs: MemoryRuns, **chosen: Any) -> None:
        self.do(runs.runner.sessions.patch(run_request(key=KEY).session_key, SessionPatch(**chosen)))

    def test_the_sessions_model_answers(self) -> None:
        runs = self.begin(reply("1"), reply("2"), params=lambda _agent, model: {"temperature": len(model)})
        self.choose(runs, model="other/model")
        self.ask(runs, user("a"), models=("scripted/m", "scripted/spare"))
        asked = runs.provider.requests[0]
        self.assertEqual((asked.model, asked.fallbacks, asked.sampling.temperature), ("other/model", (), 11))
        (record,) = self.do(runs.store.runs(KEY))
        self.assertEqual(record.model, "other/model")

    def test_a_model_that_the_caller_chose_counts_more(self) -> None:
        runs = self.begin(reply("1"))
        self.choose(runs, model="other/model")
        self.ask(runs, user("a"), model_chosen=True)
        self.assertEqual(runs.provider.requests[0].model, "scripted/m")

    def test_a_model_that_there_is_not_is_the_runs_error(self) -> None:
        runs = MemoryRuns(provider=Catalog({"scripted": Scripted(reply("ok"))}))
        self.choose(runs, model="gone/model")
        run = runs.runner.start(run_request(key=KEY))
        self.failureResultOf(run.result(), AgentNotFoundError)

    def test_the_sessions_level_of_thinking_counts_before_the_settings(self) -> None:
        runs = self.begin(
            reply("1"), reply("2"), reply("3"), params=lambda _agent, _model: {"reasoningEffort": "low"}
        )
        self.ask(runs, user("a"))
        self.choose(runs, thinking_level="max")
        self.ask(runs, user("b"))
        self.ask(runs, user("c"), sampling=Sampling(reasoning_effort="minimal"))
        efforts = [asked.sampling.reasoning_effort for asked in runs.provider.requests]
        self.assertEqual(efforts, ["low", "max", "minimal"])


class WindowTests(OpeningCase):
    def test_the_oldest_turns_are_left_out(self) -> None:
        runs = self.begin(*[reply(LONG)] * 6, context_tokens=lambda _model: 7000)
        for number in range(6):
            self.ask(runs, user(f"{number}"))
        self.assertEqual(self.texts(runs, 2), ["0", LONG, "1", LONG, "2"])
        last = runs.provider.requests[-1].messages
        self.assertEqual([message.content for message in last][::2], ["1", "2", "3", "4", "5"])
        self.assertLess(sum(map(estimated_tokens, last)), 7000)
        self.assertEqual(self.row(runs).message_count, 12)

    def test_what_a_conversation_began_with_stays(self) -> None:
        runs = self.begin(*[reply(LONG)] * 12, context_tokens=lambda _model: 7000)
        brief = Message(role="system", content="Be brief. " * 700)
        self.ask(runs, brief, user("0"), appends=True)
        for number in range(1, 12):
            self.ask(runs, user(f"{number}"), appends=True)
            asked = runs.provider.requests[-1].messages
            self.assertEqual(asked[0], brief)
            self.assertLess(sum(map(estimated_tokens, asked)), 7000 * 3 // 4)

    def test_questions_begin_alike_for_a_while_in_a_long_conversation(self) -> None:
        """Or what the model remembers of the last one is of no use."""
        runs = self.begin(*[reply("x" * 350)] * 100, context_tokens=lambda _model: 7000)
        for number in range(100):
            self.ask(runs, user(f"{number}"))
        beginnings = {asked.messages[0].content for asked in runs.provider.requests}
        self.assertLess(len(beginnings), 20)
        self.assertGreater(len(runs.provider.requests[-1].messages), 2 * 25)

    def test_a_session_with_a_larger_model_gets_more_of_its_past(self) -> None:
        windows = {"scripted/m": 3000, "large/m": 100_000}
        runs = self.begin(*[reply(LONG)] * 7, context_tokens=windows.__getitem__)
        for number in range(5):
            self.ask(runs, user(f"{number}"))
        self.assertEqual(self.texts(runs)[::2], ["3", "4"])
        self.do(runs.store.patch(KEY, SessionPatch(model="large/m"), 1.0))
        self.ask(runs, user("5"))
        self.assertEqual(self.texts(runs)[::2], ["0", "1", "2", "3", "4", "5"])

    def test_what_is_too_long_for_the_model_after_all_is_asked_again_with_half_of_it(self) -> None:
        too_long = ContextLengthError("too long")
        runs = self.begin(*[reply(LONG)] * 4, [too_long], reply("ok"))
        for number in range(4):
            self.ask(runs, user(f"{number}"))
        self.ask(runs, user("4"))
        self.assertEqual(self.texts(runs, 4)[::2], ["0", "1", "2", "3", "4"])
        self.assertEqual(self.texts(runs, 5)[::2], ["2", "3", "4"])

    def test_until_it_is_short_enough_or_nothing_is_left(self) -> None:
        """A model whose window nobody has told may be asked with many times what fits."""
        too_long = [ContextLengthError("too long")]
        runs = self.begin(*[reply(LONG)] * 8, too_long, too_long, reply("ok"), *[too_long] * 5)
        self.ask(runs, Message(role="system", content="Be brief."), user("0"))
        for number in range(1, 9):
            self.ask(runs, user(f"{number}"))
        self.assertEqual(
            [self.texts(runs, at)[1::2] for at in (-3, -2, -1)],
            [list("012345678"), list("45678"), list("678")],
        )
        run = runs.runner.start(run_request(user("9"), key=KEY))
        self.failureResultOf(run.result(), ContextLengthError)
        self.assertEqual(self.texts(runs), ["Be brief.", "9"])

    def test_what_is_too_long_without_any_past_is_not_asked_again(self) -> None:
        runs = self.begin([ContextLengthError("too long")], reply("never"))
        run = runs.runner.start(run_request(user("a"), key=KEY))
        self.failureResultOf(run.result(), ContextLengthError)
        self.assertEqual(len(runs.provider.requests), 1)


class ToolRoundTests(OpeningCase):
    """A turn that the results of tools go on with, and that has outgrown its share of the window."""

    def call(self, number: int) -> list[Any]:
        return [[ToolCallDelta(0, f"c{number}", "look", "{}")], [Finished("tool_calls")]]

    def seen(self, number: int, text: str) -> Message:
        return Message(role="tool", content=text, tool_call_id=f"c{number}")

    def test_keeps_its_calls(self) -> None:
        runs = self.begin(
            reply("1"), self.call(1), self.call(2), reply("3"), context_tokens=lambda _model: 3000
        )
        self.ask(runs, user("a"))
        self.ask(runs, user("b"))
        self.ask(runs, self.seen(1, LONG * 2), appends=True)
        self.ask(runs, self.seen(2, "and that"), appends=True)
        self.assertEqual(self.texts(runs), ["b", "", LONG * 2, "", "and that"])

    def test_goes_on_however_late_its_results_come(self) -> None:
        reset = ResetSettings(mode="idle", idle_minutes=1)
        runs = self.begin(self.call(1), reply("2"), reply("3"), reset=reset)
        asked = (user("a"), Message(role="assistant", tool_calls=(ToolCall("c1", "look", "{}"),)))
        self.ask(runs, user("a"))
        runs.clock.advance(61)
        self.ask(runs, *asked, self.seen(1, "that"))
        self.assertEqual(self.texts(runs), ["a", "", "that"])
        runs.clock.advance(61)
        self.ask(runs, *asked, self.seen(1, "that"), Message(role="assistant", content="2"), user("b"))
        self.assertEqual(self.texts(runs), ["b"])

    def test_is_not_asked_again_when_there_is_nothing_else_to_leave_out(self) -> None:
        too_long = [ContextLengthError("too long")]
        runs = self.begin(reply("1"), self.call(1), *[too_long] * 3)
        self.ask(runs, user("a"))
        self.ask(runs, user("b"))
        run = runs.runner.start(run_request(self.seen(1, LONG), key=KEY, appends=True))
        self.failureResultOf(run.result(), ContextLengthError)
        self.assertEqual(self.texts(runs, -2), ["a", "1", "b", "", LONG])
        self.assertEqual(self.texts(runs), ["b", "", LONG])
        self.assertEqual(len(runs.provider.requests), 4)


class RecordTests(OpeningCase):
    def record(self, runs: MemoryRuns) -> RunRecord:
        (record,) = self.do(runs.store.runs(KEY))
        assert isinstance(record, RunRecord)
        return record

    def test_a_defect_ends_the_run_in_the_store_too(self) -> None:
        class Defective(Scripted):
            def respond(self, request: Any) -> Any:
                raise ZeroDivisionError("secret detail")

        runs = MemoryRuns(provider=Defective())
        run = runs.runner.start(run_request(key=KEY))
        self.failureResultOf(run.result(), InternalError)
        record = self.record(runs)
        self.assertEqual((record.status, record.error_code), ("failed", "internal_error"))
        self.assertNotIn("secret", record.error_message or "")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_tokens_and_claims_are_kept_with_the_turn(self) -> None:
        runs = self.begin(reply("1", usage=Usage(3, 2, 5)))
        claim = Claim(scope="s", key="k", digest=b"d")
        self.ask(runs, user("a"), claim=claim)
        self.assertEqual(self.row(runs).total_tokens, 5)
        recalled = self.do(runs.store.recall("s", "k"))
        self.assertEqual((recalled.claim, recalled.answer.content), (claim, "1"))
