"""What of the past fits."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, ToolSpec, estimated_tokens
from openclaw_twisted.runs.fitting import ANSWER_TOKENS, budget, fitting
from openclaw_twisted.testing import run_request, user

CALL = Message(role="assistant", tool_calls=(ToolCall("c1", "look", "{}"),))
RESULT = Message(role="tool", content="seen" * 50, tool_call_id="c1")


def said(text: str) -> Message:
    return Message(role="assistant", content=text)


def cost(*messages: Message) -> int:
    return sum(map(estimated_tokens, messages))


class EstimateTests(SynchronousTestCase):
    def test_more_text_costs_more(self) -> None:
        english = estimated_tokens(user("The quick brown fox jumps over the lazy dog. " * 100))
        self.assertTrue(1000 < english < 1500, english)  # common tokenisers: 1001
        chinese = estimated_tokens(user("敏捷的棕色狐狸跳过了懒狗。" * 100))
        self.assertTrue(1300 <= chinese < 2000, chinese)
        image = Message(role="user", content=(TextPart("x"), ImagePart("image/png", "A" * 1_000_000)))
        self.assertTrue(1500 < estimated_tokens(image) < 1600)
        self.assertGreater(cost(CALL), cost(said("")))


class FittingTests(SynchronousTestCase):
    TURNS = (user("a" * 350), said("b" * 350), user("c"), CALL, RESULT, said("d"), user("e"), said("f"))

    def test_everything_stays_if_it_fits(self) -> None:
        self.assertEqual(fitting(self.TURNS, cost(*self.TURNS), whole=True), self.TURNS)
        self.assertEqual(fitting((), 0, whole=True), ())

    def test_the_oldest_turns_go_whole(self) -> None:
        self.assertEqual(fitting(self.TURNS, cost(*self.TURNS) - 1, whole=True), self.TURNS[2:])
        self.assertEqual(fitting(self.TURNS, cost(*self.TURNS[2:]), whole=True), self.TURNS[2:])
        self.assertEqual(fitting(self.TURNS, cost(*self.TURNS[2:]) - 1, whole=True), self.TURNS[6:])
        self.assertEqual(fitting(self.TURNS, 0, whole=True), ())
        self.assertEqual(fitting(self.TURNS, -5, whole=True), ())

    def test_a_stretch_of_the_past_begins_with_a_turn(self) -> None:
        self.assertEqual(fitting(self.TURNS[4:], 10_000, whole=False), self.TURNS[6:])
        self.assertEqual(fitting(self.TURNS[4:], 10_000, whole=True), self.TURNS[4:])

    def test_a_turn_that_goes_on_stays(self) -> None:
        under_way = self.TURNS[:4]
        self.assertEqual(fitting(under_way, 0, whole=True, goes_on=True), under_way[2:])
        self.assertEqual(fitting(under_way, cost(*under_way), whole=True, goes_on=True), under_way)
        self.assertEqual(fitting(under_way[3:], 0, whole=False, goes_on=True), under_way[3:])

    def test_system_messages_of_what_goes_stay(self) -> None:
        system = Message(role="system", content="Be brief.")
        history, fits = (system, *self.TURNS), (system, *self.TURNS[6:])
        self.assertEqual(fitting(history, cost(*history), whole=True), history)
        self.assertEqual(fitting(history, cost(*fits), whole=True), fits)
        self.assertEqual(fitting(history, cost(*fits) - 1, whole=True), (system,))
        self.assertEqual(fitting((system, *history), cost(*history), whole=True), (system, *history))


class BeginningTests(SynchronousTestCase):
    """A conversation that has outgrown the window begins the same for many questions."""

    def beginnings(self, turn: tuple[Message, ...], *, loaded: int, tokens: int) -> list[tuple[int, int]]:
        """Return, for each of 200 questions, the number of the first message and what was kept in tokens."""
        found = []
        for turns in range(200):
            messages = [(number, message) for number, message in enumerate(turn * turns, 1)]
            newest = messages[-loaded:]
            kept = fitting(
                [message for _, message in newest],
                tokens,
                whole=len(newest) == len(messages),
                first=newest[0][0] if newest else 0,
            )
            found.append((len(messages) - len(kept) + 1, cost(*kept)))
        return found

    def check(self, found: list[tuple[int, int]], *, changes: int, at_least: int) -> None:
        numbers = [number for number, _ in found]
        self.assertEqual(numbers, sorted(numbers))
        self.assertLessEqual(len(set(numbers)), changes)
        self.assertGreater(min(tokens for number, tokens in found if number > 1), at_least)

    def test_when_it_is_too_long(self) -> None:
        turn = (user("a" * 350), said("b" * 700))
        tokens = 40 * cost(*turn)
        found = self.beginnings(turn, loaded=1000, tokens=tokens)
        self.assertLessEqual(max(kept for _, kept in found), tokens)
        self.check(found, changes=22, at_least=int(tokens * 0.6))

    def test_when_turns_do_not_begin_at_even_numbers(self) -> None:
        turn = (user("a" * 350), CALL, RESULT, said("b" * 700), user("more"))
        tokens = 40 * cost(*turn)
        self.check(self.beginnings(turn, loaded=1000, tokens=tokens), changes=30, at_least=int(tokens * 0.6))

    def test_when_it_has_more_messages_than_are_read(self) -> None:
        turn = (user("a"), said("b"))
        found = self.beginnings(turn, loaded=100, tokens=1_000_000)
        self.check(found, changes=22, at_least=60 * cost(user("a")))

    def test_one_long_turn_does_not_cost_half_of_it(self) -> None:
        short, long = (user("a"), said("b" * 35)), (user("a"), said("b" * 3500))
        history = (*short * 5, *long, *short * 21)
        self.assertEqual(fitting(history, cost(*history[10:]), whole=True), history[10:])


class BudgetTests(SynchronousTestCase):
    def room(self, context: int, system_prompt: str = "", **more: Any) -> int:
        return budget(context, run_request(**more), system_prompt=system_prompt, added=(user("hi"),))

    def test_the_answer_and_everything_else_leave_their_room(self) -> None:
        self.assertTrue(90_000 - ANSWER_TOKENS - 50 < self.room(100_000) <= 90_000 - ANSWER_TOKENS)
        self.assertEqual(self.room(100_000, sampling=Sampling(max_tokens=1000)) - self.room(100_000), 3096)
        self.assertLess(self.room(1000), 900 - 250)
        self.assertGreater(self.room(1000), 600)
        self.assertLess(self.room(100_000, "x" * 35_000), self.room(100_000) - 9_900)
        tool = ToolSpec("look", "d" * 3500, {"type": "object"})
        self.assertLess(self.room(100_000, tools=(tool,)), self.room(100_000) - 990)
