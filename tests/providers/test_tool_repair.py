"""Answers of small models that are tool calls in all but form."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.content import ToolSpec
from openclaw_twisted.providers.tool_repair import repair_tool_call

TOOLS = (ToolSpec("get_weather"), ToolSpec("read_file"))
CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'


class RepairTests(SynchronousTestCase):
    def test_a_call_is_found_bare_and_in_a_fence(self) -> None:
        for text in (CALL, f"\n {CALL}\n", f"```json\n{CALL}\n```", f"```\n{CALL}```", f"```json {CALL} ```"):
            call = repair_tool_call(text, TOOLS)
            assert call is not None, text
            self.assertEqual((call.name, json.loads(call.arguments)), ("get_weather", {"city": "Oslo"}))

    def test_arguments_may_be_missing_or_written_as_text(self) -> None:
        call = repair_tool_call('{"name": "read_file"}', TOOLS)
        assert call is not None
        self.assertEqual(call.arguments, "{}")
        call = repair_tool_call('{"name": "read_file", "arguments": "{\\"path\\": \\"a\\"}"}', TOOLS)
        assert call is not None
        self.assertEqual(json.loads(call.arguments), {"path": "a"})

    def test_each_call_has_an_id_of_its_own(self) -> None:
        first, second = (repair_tool_call(CALL, TOOLS) for _ in range(2))
        assert first is not None
        assert second is not None
        self.assertNotEqual(first.id, second.id)

    def test_anything_else_is_an_answer(self) -> None:
        for text in (
            "",
            "It rains in Oslo.",
            f"I call it: {CALL}",
            f"{CALL} is what I would call.",
            f"```json\n{CALL}\n```\nThat is the call.",
            f"{CALL}\n{CALL}",
            f"[{CALL}]",
            CALL[:-1],
            '{"name": "rm", "arguments": {}}',
            '{"name": "get_weather", "arguments": ["Oslo"]}',
            '{"name": "get_weather", "arguments": "Oslo"}',
            '{"name": ["get_weather"], "arguments": {}}',
            '{"city": "Oslo"}',
            "42",
        ):
            self.assertIsNone(repair_tool_call(text, TOOLS), text)

    def test_no_tool_is_called_that_is_not_offered(self) -> None:
        self.assertIsNone(repair_tool_call(CALL, TOOLS[1:]))
        self.assertIsNone(repair_tool_call(CALL, ()))

    @given(st.text())
    def test_no_text_breaks_it(self, text: str) -> None:
        self.assertIsNone(repair_tool_call(text, ()))

    @given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
    def test_arguments_survive(self, arguments: dict[str, object]) -> None:
        text = json.dumps({"name": "read_file", "arguments": arguments})
        call = repair_tool_call(text, TOOLS)
        assert call is not None
        self.assertEqual(json.loads(call.arguments), arguments)
