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
        self.assertEqual(
            fitting((system, *self.TURNS), cost(*self.TURNS[6:]), whole=True), (system, *self.TURNS[6:])
        )


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
