import sys

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest, Sampling
from openclaw_twisted.content import Message, ToolCall, ToolSpec, Usage
from openclaw_twisted.errors import InvalidRequestError, UpstreamError
from openclaw_twisted.events import Finished, ModelAnswering, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.scripted import Pause, Scripted, Step, reply
from openclaw_twisted.runs.feed import Feed
from openclaw_twisted.runs.turn import MAX_PIECES, Reply, ask, compose, new_messages, with_whole_rounds
from openclaw_twisted.testing import Collector, run_request, user


def said(text: str) -> Message:
    return Message(role="assistant", content=text)


class History(SynchronousTestCase):
    """The rule: what follows the last assistant message is new; without it, the last user message on."""

    def added(self, *messages: Message, has_history: bool) -> tuple[Message, ...]:
        return new_messages(run_request(*messages), has_history=has_history)

    def test_an_empty_session_is_seeded_with_everything(self) -> None:
        conversation = (user("a"), said("b"), user("c"))
        self.assertEqual(self.added(*conversation, has_history=False), conversation)

    def test_a_client_that_sends_one_message(self) -> None:
        self.assertEqual(self.added(user("c"), has_history=True), (user("c"),))

    def test_a_client_that_sends_everything_again_is_not_doubled(self) -> None:
        self.assertEqual(self.added(user("a"), said("b"), user("c"), has_history=True), (user("c"),))

    def test_several_new_messages(self) -> None:
        self.assertEqual(
            self.added(user("a"), said("b"), user("c"), user("d"), has_history=True), (user("c"), user("d"))
        )

    def test_tool_results_are_new(self) -> None:
        call = Message(role="assistant", tool_calls=(ToolCall("c", "f", "{}"),))
        result = Message(role="tool", content="1", tool_call_id="c")
        self.assertEqual(self.added(user("a"), call, result, has_history=True), (result,))

    def test_nothing_after_the_last_answer_means_the_last_question(self) -> None:
        conversation = (user("a"), said("b"), user("c"), said("d"))
        self.assertEqual(self.added(*conversation, has_history=True), (user("c"), said("d")))

    def test_who_says_that_all_is_new_is_believed(self) -> None:
        conversation = (user("a"), said("b"), user("c"))
        request = run_request(*conversation, appends=True)
        self.assertEqual(new_messages(request, has_history=True), conversation)


class Composing(SynchronousTestCase):
    def test_the_agents_prompt_comes_before_the_clients_instructions(self) -> None:
        request = run_request(user("new"), instructions=("Be brief.", "Be kind."))
        question = compose(
            request, system_prompt="You are Ann.", history=(user("old"),), added=request.messages
        )
        self.assertEqual(
            question.messages,
            (
                Message(role="system", content="You are Ann.\n\nBe brief.\n\nBe kind."),
                user("old"),
                user("new"),
            ),
        )

    def test_no_system_message_when_there_is_nothing_to_say(self) -> None:
        question = compose(run_request(), system_prompt="", history=(), added=(user("hi"),))
        self.assertEqual(question.messages, (user("hi"),))

    def test_system_messages_stand_at_the_head_once_each(self) -> None:
        def rule(text: str) -> Message:
            return Message(role="system", content=text)

        request = run_request(
            rule("Be kind."), user("a"), said("b"), rule("Be quick."), user("c"), instructions=("Be brief.",)
        )
        question = compose(
            request,
            system_prompt="You are Ann.",
            history=(rule("Be kind."), user("a"), said("b")),
            added=new_messages(request, has_history=True),
        )
        head = "You are Ann.\n\nBe brief.\n\nBe kind.\n\nBe quick."
        self.assertEqual(question.messages, (rule(head), user("a"), said("b"), user("c")))

    def test_models_tools_and_sampling_are_passed_on(self) -> None:
        request = run_request(
            models=("a/1", "b/2", "c/3"),
            tools=(ToolSpec("f"),),
            tool_choice="required",
            sampling=Sampling(seed=1),
        )
        question = compose(request, system_prompt="", history=(), added=request.messages)
        self.assertEqual((question.model, question.fallbacks), ("a/1", ("b/2", "c/3")))
        self.assertEqual(
            (question.tools, question.tool_choice, question.sampling),
            ((ToolSpec("f"),), "required", Sampling(seed=1)),
        )

    def test_results_alone_are_no_question(self) -> None:
        result = Message(role="tool", content="1", tool_call_id="c")
        with self.assertRaises(InvalidRequestError):
            compose(run_request(result), system_prompt="Hi.", history=(), added=(result,))


class ToolRounds(SynchronousTestCase):
    def call(self, *ids: str, text: str = "") -> Message:
        return Message(
            role="assistant", content=text, tool_calls=tuple(ToolCall(name, "f", "{}") for name in ids)
        )

    def result(self, name: str) -> Message:
        return Message(role="tool", content="1", tool_call_id=name)

    def test_whole_rounds_stay_as_they_are(self) -> None:
        first = (user("a"), self.call("1", "2"), self.result("2"), self.result("1"), said("b"))
        rounds = (*first, user("c"), self.call("3"), self.result("3"))
        self.assertEqual(with_whole_rounds(rounds), rounds)

    def test_a_call_that_nobody_answered_is_left_out(self) -> None:
        self.assertEqual(with_whole_rounds((user("a"), self.call("1"), user("b"))), (user("a"), user("b")))

    def test_each_message_is_looked_at_a_few_times_however_many_there_are(self) -> None:
        ids = [f"{at}" for at in range(500)]
        together = (self.call(*ids), *map(self.result, ids))
        in_turn = tuple(message for each in ids for message in (self.call(each), self.result(each)))
        for conversation in (together, in_turn):
            calls = 0

            def heard(_frame: object, what: str, _argument: object) -> None:
                nonlocal calls
                calls += what in {"call", "c_call"}

            sys.setprofile(heard)
            try:
                whole = with_whole_rounds(conversation)
            finally:
                sys.setprofile(None)
            self.assertEqual(whole, conversation)
            self.assertLess(calls, 20 * len(conversation))

    def test_its_text_is_kept(self) -> None:
        conversation = with_whole_rounds((user("a"), self.call("1", text="Let me see."), user("b")))
        self.assertEqual(conversation, (user("a"), said("Let me see."), user("b")))

    def test_of_several_calls_the_answered_ones_are_kept(self) -> None:
        conversation = with_whole_rounds((user("a"), self.call("1", "2"), self.result("2"), user("b")))
        self.assertEqual(conversation, (user("a"), self.call("2"), self.result("2"), user("b")))

    def test_of_several_results_of_a_call_the_last_one_counts(self) -> None:
        again = Message(role="tool", content="2", tool_call_id="1")
        conversation = (user("a"), self.call("1", "2"), self.result("1"), self.result("2"), again)
        self.assertEqual(
            with_whole_rounds(conversation), (user("a"), self.call("1", "2"), self.result("2"), again)
        )

    def test_two_calls_of_one_name_have_two_results(self) -> None:
        conversation = (user("a"), self.call("1", "1"), self.result("1"), self.result("1"))
        self.assertEqual(with_whole_rounds(conversation), conversation)
        self.assertEqual(with_whole_rounds((*conversation, said("b"), *conversation[2:])), conversation)

    def test_results_that_come_again_are_asked_again(self) -> None:
        first = (user("a"), self.call("1", "2"), self.result("1"), self.result("2"))
        second = (self.call("3"), self.result("3"))
        again = (self.result("1"), self.result("2"))
        for since in ((said("half an ans"),), (self.call("3"),), second, (*second, said("b"))):
            self.assertEqual(with_whole_rounds((*first, *since, *again)), first)
            whole = with_whole_rounds((*first, *since, *again, *second, said("c"), user("d")))
            self.assertEqual(whole, (*first, *second, said("c"), user("d")))

    def test_results_that_come_after_somebody_else_has_spoken_bring_their_calls_along(self) -> None:
        since = (user("b"), said("c"))
        conversation = (user("a"), self.call("1", "2", text="Let me see."), *since)
        whole = (user("a"), said("Let me see."), *since)
        results = (self.result("2"), self.result("1"))
        late = (*whole, self.call("2", "1"), *results)
        for more in ((), (said("d"), user("e"))):
            self.assertEqual(with_whole_rounds((*conversation, *results, *more)), (*late, *more))
            again = (*conversation, *results, said("half"), *results, *more)
            self.assertEqual(with_whole_rounds(again), (*late, *more))

    def test_calls_that_were_made_one_by_one_and_answered_together(self) -> None:
        results = (self.result("1"), self.result("2"))
        whole = with_whole_rounds((user("a"), self.call("1"), self.call("2"), *results))
        self.assertEqual(whole, (user("a"), self.call("2", "1"), *results))

    def test_what_was_called_for_in_an_earlier_turn_is_over(self) -> None:
        conversation = (user("a"), self.call("1"), self.result("1"), said("b"), user("c"), said("d"))
        self.assertEqual(with_whole_rounds((*conversation, self.result("1"))), conversation)

    def test_a_result_that_nobody_called_for_is_left_out(self) -> None:
        nine = self.result("9")
        for orphan in ((nine,), (user("a"), nine), (self.call("1"), nine)):
            whole = with_whole_rounds((*orphan, user("b")))
            self.assertEqual(whole[-1], user("b"))
            self.assertNotIn(nine, whole)


class Asking(SynchronousTestCase):
    def setUp(self) -> None:
        self.feed = Feed()
        self.listener = Collector()
        self.subscription = self.feed.subscribe(self.listener)
        self.reply = Reply()
        self.clock = Clock()
        self.clock.advance(3)

    def ask(self, provider: Scripted) -> Deferred[None]:
        question = ModelRequest(model="m", messages=(user("hi"),))
        return Deferred.fromCoroutine(
            ask(provider, question, feed=self.feed, reply=self.reply, seconds=self.clock.seconds)
        )

    def test_the_answer_is_published_and_gathered(self) -> None:
        self.successResultOf(self.ask(Scripted(reply("Hel", "lo", usage=Usage(1, 2, 3)))))
        self.assertEqual(self.listener.batches, [(TextDelta("Hel"),), (TextDelta("lo"),)])
        self.assertEqual(self.reply.message(), said("Hello"))
        self.assertEqual((self.reply.reason, self.reply.usage), ("stop", Usage(1, 2, 3)))

    def test_a_call_that_is_named_after_it_began(self) -> None:
        named = ToolCallDelta(0, name="f", arguments="{}")
        self.reply.take([ToolCallDelta(0, "c1"), named, ToolCallDelta(0, arguments=" ")])
        self.assertEqual(self.reply.message().tool_calls, (ToolCall("c1", "f", "{} "),))

    def test_an_answer_begins_with_what_it_says_first(self) -> None:
        first, second = Pause(), Pause()
        script: list[Step] = [
            [ModelAnswering("a/m")],
            first,
            [ReasoningDelta("well")],
            second,
            [TextDelta("x")],
        ]
        asking = self.ask(Scripted([*script, [Finished("stop")]]))
        self.assertIsNone(self.reply.began_at)
        first.go_on()
        self.clock.advance(1)
        second.go_on()
        self.successResultOf(asking)
        self.assertEqual(self.reply.began_at, 3)

    def test_an_answer_that_says_nothing_never_begins(self) -> None:
        self.successResultOf(self.ask(Scripted([[ModelAnswering("a/m")], [Finished("stop")]])))
        self.assertIsNone(self.reply.began_at)

    def test_tool_calls_are_put_together_in_order(self) -> None:
        script: list[Step] = [
            [TextDelta("Let me see."), ToolCallDelta(1, "c2", "g"), ToolCallDelta(0, "c1", "f", '{"a"')],
            [ToolCallDelta(0, arguments=":1}"), ToolCallDelta(1, arguments="{}"), Finished("tool_calls")],
        ]
        self.successResultOf(self.ask(Scripted(script)))
        self.assertEqual(
            self.reply.message(),
            Message(
                role="assistant",
                content="Let me see.",
                tool_calls=(ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}")),
            ),
        )

    def test_a_listener_that_holds_makes_the_provider_wait(self) -> None:
        provider = Scripted(reply("a", "b", "c"))
        self.subscription.pause()
        asking = self.ask(provider)
        self.assertEqual(self.listener.text, "a")
        self.subscription.resume()
        self.successResultOf(asking)
        self.assertEqual(self.listener.text, "abc")

    def test_cancelling_closes_the_answer_while_it_is_awaited_and_while_it_is_held(self) -> None:
        for hold in (False, True):
            provider = Scripted([[TextDelta("a")], Pause()])
            if hold:
                self.subscription.pause()
            asking = self.ask(provider)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            self.assertEqual(provider.closed, 1, hold)

    def test_what_had_arrived_before_a_failure_is_kept(self) -> None:
        asking = self.ask(Scripted([[TextDelta("half")], UpstreamError("gone")]))
        self.failureResultOf(asking, UpstreamError)
        self.assertEqual(self.reply.text, "half")
        self.assertIsNone(self.reply.reason)


class ManyPieces(SynchronousTestCase):
    def test_a_reply_of_many_pieces_is_their_text_whenever_it_is_asked_for(self) -> None:
        gathered = Reply()
        pieces = [f"{at} " for at in range(3 * MAX_PIECES)]
        for at, piece in enumerate(pieces, start=1):
            gathered.take([TextDelta(piece)])
            if at % 100 == 0:
                self.assertEqual(gathered.text, "".join(pieces[:at]))
        self.assertEqual(gathered.message().content, "".join(pieces))
