"""How hard a Claude model is made to think."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest, Sampling
from openclaw_twisted.config.settings import ModelSettings
from openclaw_twisted.content import Message, ToolCall, ToolSpec
from openclaw_twisted.providers.anthropic_messages import request_body
from openclaw_twisted.testing import user

__all__ = ["BudgetTests", "EffortTests", "OffTests"]

BUDGETED = "claude-sonnet-4-5"
SHOWN = {"type": "adaptive", "display": "summarized"}
ROUND = (
    user("a"),
    Message(role="assistant", tool_calls=(ToolCall("c1", "look", "{}"),)),
    Message(role="tool", content="42", tool_call_id="c1"),
)


def body(
    model: str, effort: str | None, *messages: Message, reasoning: bool = True, **more: Any
) -> dict[str, Any]:
    choice = more.pop("tool_choice", None)
    request = ModelRequest(
        model=model,
        messages=messages or (user("hi"),),
        tools=(ToolSpec("look"),) if choice else (),
        tool_choice=choice,
        sampling=Sampling(reasoning_effort=effort, **more),
    )
    sent: dict[str, Any] = json.loads(request_body(request, ModelSettings(id=model, reasoning=reasoning)))
    return sent


class BudgetTests(SynchronousTestCase):
    """Models that are given a budget."""

    def budget(self, effort: str | None, *messages: Message, **more: Any) -> int | None:
        thinking = body(BUDGETED, effort, *messages, **more).get("thinking")
        if thinking is None:
            return None
        self.assertEqual(thinking["type"], "enabled")
        return int(thinking["budget_tokens"])

    def test_the_efforts(self) -> None:
        table = {
            None: None, "none": None, "off": None, "minimal": 1024, "low": 2048, "medium": 8192,
            "high": 16_384, "xhigh": 32_768, "max": 32_768, "adaptive": 8192,
        }  # fmt: skip
        for effort, tokens in table.items():
            self.assertEqual(self.budget(effort, max_tokens=60_000), tokens, effort)

    def test_part_of_the_answers_tokens_are_left_for_the_answer(self) -> None:
        self.assertEqual(self.budget("high"), 16_384 - 1024)
        self.assertEqual(self.budget("high", max_tokens=2048), 1024)
        self.assertIsNone(self.budget("high", max_tokens=2047))

    def test_thinking_and_sampling_exclude_each_other(self) -> None:
        self.assertNotIn("temperature", body(BUDGETED, "low", temperature=0.2))
        self.assertNotIn("top_p", body(BUDGETED, "low", top_p=0.2))
        self.assertEqual(body(BUDGETED, "low", temperature=0.2, max_tokens=9)["temperature"], 0.2)

    def test_only_models_that_reason_are_asked_to(self) -> None:
        self.assertNotIn("thinking", body(BUDGETED, "high", reasoning=False))
        self.assertFalse(
            {"thinking", "output_config"} & set(body("claude-opus-5-5", "high", reasoning=False))
        )

    def test_not_in_a_round_of_tools_whose_thinking_is_gone(self) -> None:
        self.assertIsNone(self.budget("high", *ROUND))
        self.assertIsNone(self.budget("high", *ROUND, user("so?")))
        closed = Message(role="assistant", content="42.")
        self.assertIsNotNone(self.budget("high", *ROUND, closed, user("thanks")))

    def test_not_when_a_call_is_demanded(self) -> None:
        for choice, thinks in [("auto", True), ("required", False), (("function", "look"), False)]:
            self.assertEqual(self.budget("high", tool_choice=choice) is not None, thinks)


class EffortTests(SynchronousTestCase):
    """Models that choose for themselves."""

    def test_the_efforts(self) -> None:
        for effort, before, since in [
            ("minimal", "low", "low"),
            ("low", "low", "low"),
            ("medium", "medium", "medium"),
            ("high", "high", "high"),
            ("xhigh", "high", "xhigh"),
            ("max", "max", "max"),
            ("ultra", "max", "max"),
        ]:
            for model, thinking, level in [
                ("claude-opus-4-6", {"type": "adaptive"}, before),
                ("claude-opus-4-8", SHOWN, since),
                ("claude-opus-5-5", SHOWN, since),
            ]:
                sent = body(model, effort)
                self.assertEqual(
                    (sent["thinking"], sent["output_config"]), (thinking, {"effort": level}), (model, effort)
                )

    def test_the_models_own_measure(self) -> None:
        sent = body("claude-opus-4-8", "adaptive")
        self.assertEqual(sent["thinking"], SHOWN)
        self.assertNotIn("output_config", sent)

    def test_without_an_effort_nothing_is_asked(self) -> None:
        for model in ("claude-opus-4-6", "claude-opus-5-5"):
            self.assertFalse({"thinking", "output_config"} & set(body(model, None)))

    def test_rounds_of_tools_go_on_thinking(self) -> None:
        self.assertEqual(body("claude-opus-4-8", "low", *ROUND)["thinking"], SHOWN)

    def test_not_when_a_call_is_demanded(self) -> None:
        self.assertNotIn("thinking", body("claude-opus-4-8", "low", tool_choice="required"))
        # this one cannot be made to call, so nothing is demanded of it
        self.assertEqual(body("claude-opus-5-5", "low", tool_choice="required")["thinking"], SHOWN)

    def test_beside_a_format(self) -> None:
        schema = {"type": "object"}
        wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
        sent = body("claude-opus-4-8", "low", response_format=wanted)
        self.assertEqual(
            sent["output_config"], {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
        )

    def test_sampling_before_4_7_gives_way(self) -> None:
        self.assertNotIn("temperature", body("claude-opus-4-6", "low", temperature=0.2))
        self.assertEqual(body("claude-opus-4-6", None, temperature=0.2)["temperature"], 0.2)


class OffTests(SynchronousTestCase):
    """No thinking, as far as that can be had."""

    def test_how_it_is_said(self) -> None:
        table: dict[str, tuple[Any, Any]] = {
            BUDGETED: (None, None),
            "claude-opus-4-8": (None, None),
            "claude-opus-5": ({"type": "disabled"}, None),
            "claude-sonnet-5-5": ({"type": "between_tools"}, None),
            "claude-opus-5-5": (None, {"effort": "low"}),
        }
        for model, expected in table.items():
            for effort in ("none", "off"):
                sent = body(model, effort)
                self.assertEqual((sent.get("thinking"), sent.get("output_config")), expected, model)
