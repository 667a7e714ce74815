import contextlib  # trial gives a module-level name "suppress" a meaning of its own
import json
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.config.settings import ImagesSettings
from openclaw_twisted.content import Message, ToolCall, ToolSpec
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.chat_request import ChatRequest, parse
from openclaw_twisted.http.conversation import Conversation
from openclaw_twisted.http.parts import ContentLimits

LIMITS = ContentLimits(ImagesSettings(max_bytes=1000), max_images=2, max_total_bytes=1500)
USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f"}}


KEYS = st.sampled_from([*ChatRequest.__struct_fields__, "role", "content", "type"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


class ParsingCase(SynchronousTestCase):
    def parse(self, **body: Any) -> tuple[ChatRequest, Conversation]:
        return parse(json.dumps({"messages": [USER]} | body).encode(), LIMITS)

    def said(self, **body: Any) -> Conversation:
        return self.parse(**body)[1]

    def refused(self, **body: Any) -> InvalidRequestError:
        try:
            self.parse(**body)
        except InvalidRequestError as error:
            return error
        raise AssertionError(f"{body} was not refused")


class Bodies(ParsingCase):
    def test_what_is_no_json_object(self) -> None:
        no_utf8 = b'{"messages":[{"role":"user","content":"\xff"}]}'
        for body in (
            *(b"", b"{", b"[]", b'"x"', b"null", b'{"messages":[]}', b"{}"),
            *(b"\xff", no_utf8, b"[" * 100_000, b'{"more":' + b"[" * 100_000),
        ):
            with self.assertRaises(InvalidRequestError, msg=body[:20]) as caught:
                parse(body, LIMITS)
            self.assertLess(len(caught.exception.message), 200)

    def test_the_encodings_of_windows(self) -> None:
        body = '{"messages":[{"role":"user","content":"caf\N{LATIN SMALL LETTER E WITH ACUTE}%s"}]}'
        for more in ("", "e" * 600_000):
            for encoding in ("utf-8-sig", "utf-16", "latin-1"):
                with self.assertRaises(InvalidRequestError) as caught:
                    parse((body % more).encode(encoding), LIMITS)
                self.assertIn("UTF-8", caught.exception.message, encoding)

    def test_half_an_emoji_is_what_cannot_be_read(self) -> None:
        body = rb'{"messages":[{"role":"user","content":"so \ud83e"}],"temperature":%d}'
        self.assertEqual(parse(body % 1, LIMITS)[1].messages[0].content, "so \ufffd")
        large = body.replace(b"so", b"so" * 300_000)
        self.assertEqual(str(parse(large % 1, LIMITS)[1].messages[0].content)[-2:], " \ufffd")
        with self.assertRaises(InvalidRequestError) as caught:
            parse(body % 9, LIMITS)
        self.assertEqual(caught.exception.param, "temperature")

    def test_null_is_absent_and_unknown_fields_are_ignored(self) -> None:
        nulls = dict.fromkeys(ChatRequest.__struct_fields__[1:])
        request, conversation = self.parse(**nulls, metadata={"a": 1}, store=True, api_base="http://evil")
        self.assertFalse(request.stream)
        self.assertEqual(conversation.sampling, Sampling())
        self.assertEqual(conversation.messages, (Message(role="user", content="hi"),))

    def test_a_wrong_value_is_told_with_its_path_and_never_quoted(self) -> None:
        table: list[tuple[dict[str, Any], str | None]] = [
            ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
            ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
            ({"messages": "secret-text"}, "messages"),
            ({"temperature": 3}, "temperature"),
            ({"temperature": "secret-text"}, "temperature"),
            ({"top_p": -1}, "top_p"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"stream": "yes"}, "stream"),
            ({"n": 2}, "n"),
            ({"stop": ["a"] * 5}, "stop"),
            ({"stop": ""}, "stop"),
            ({"tools": [{"type": "function"}]}, "tools[0].function"),
            ({"tool_choice": "perhaps"}, "tool_choice"),
            ({"response_format": {"type": "xml"}}, "response_format.type"),
            ({"reasoning_effort": "secret-text" * 1000}, "reasoning_effort"),
            ({"messages": [{"role": "secret-text", "content": "x"}]}, "messages[0].role"),
            (
                {"messages": [{"role": "user", "content": [{"type": "secret-text"}]}]},
                "messages[0].content[0].type",
            ),
            ({"messages": [{"content": "x"}]}, "messages[0].role"),
            ({"seed": 1.5}, "seed"),
            ({"seed": 2**63}, "seed"),
            ({"max_tokens": 10**30}, "max_tokens"),
            ({"logit_bias": {"1": 101}}, "logit_bias[...]"),
            ({"presence_penalty": 2.1}, "presence_penalty"),
        ]
        for body, param in table:
            error = self.refused(**body)
            self.assertEqual(error.param, param, body)
            self.assertNotIn("secret-text", error.message)

    @given(JSON)
    def test_no_json_gets_anything_but_an_answer_or_a_refusal(self, value: Any) -> None:
        more = value if isinstance(value, dict) else {}
        with contextlib.suppress(InvalidRequestError):
            parse(json.dumps({"messages": [USER, value], **more}).encode(), LIMITS)

    def test_integers_however_they_are_written(self) -> None:
        said = self.said(max_tokens=5.0, seed=-3e2, tools=[TOOL])
        self.assertEqual((said.sampling.max_tokens, said.sampling.seed), (5, -300))
        self.assertIsInstance(said.sampling.max_tokens, int)
        for body in ({"seed": 1e300}, {"max_tokens": 0.0}, {"n": 1.5}, {"max_tokens": 5.0, "seed": "x"}):
            self.assertIn(self.refused(**body).param, body)

    def test_what_is_nested_too_deep_to_be_passed_on(self) -> None:
        def nested(levels: int) -> Any:
            value: Any = {}
            for _ in range(levels - 1):
                value = {"a": value}
            return value

        for levels, taken in ((100, True), (102, False), (900, False)):
            tools = [{"type": "function", "function": {"name": "f", "parameters": nested(levels)}}]
            schema = {"type": "json_schema", "json_schema": nested(levels)}
            if taken:
                self.said(tools=tools, response_format=schema)
            else:
                self.assertEqual(self.refused(tools=tools).param, "tools")
                self.assertEqual(self.refused(response_format=schema).param, "response_format.json_schema")


class Messages(ParsingCase):
    def test_calls_as_clients_piece_them_together(self) -> None:
        call = {"id": "c1", "type": None, "index": 0, "function": {"name": "f", "arguments": None}}
        asked = {"role": "assistant", "content": None, "tool_calls": [call]}
        result = {"role": "tool", "content": "t", "tool_call_id": "c1"}
        said = self.said(messages=[USER, asked, result], tools=[TOOL | {"type": None}])
        self.assertEqual(said.messages[1].tool_calls, (ToolCall("c1", "f", ""),))
        legacy = {"role": "assistant", "function_call": {"name": "f", "arguments": None}}
        said = self.said(messages=[USER, legacy, {"role": "function", "name": "f", "content": "x"}])
        self.assertEqual(said.messages[1].tool_calls[0].arguments, "")

    def test_every_role(self) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        said = self.said(
            messages=[
                {"role": "system", "content": "s"},
                {"role": "developer", "content": "d"},
                {"role": "user", "content": "u", "name": "ann"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "t", "tool_call_id": "c1"},
                {"role": "assistant", "content": "a"},
                {"role": "function", "name": "f", "content": "x"},
            ]
        )
        self.assertEqual(said.instructions, ("s", "d"))
        self.assertEqual(
            said.messages,
            (
                Message(role="user", content="u", name="ann"),
                Message(role="assistant", tool_calls=(ToolCall("c1", "f", "{}"),)),
                Message(role="tool", content="t", tool_call_id="c1"),
                Message(role="assistant", content="a"),
                Message(role="tool", content="x", name="f", tool_call_id="call_f"),
            ),
        )

    def test_arguments_that_are_no_text(self) -> None:
        for arguments, written in (({"a": [1, 10**30]}, f'{{"a":[1,{10**30}]}}'), ({}, "{}")):
            call = {"id": "c1", "function": {"name": "f", "arguments": arguments}}
            called = {"role": "assistant", "tool_calls": [call]}
            said = self.said(messages=[called, {"role": "tool", "tool_call_id": "c1", "content": "x"}])
            self.assertEqual(said.messages[0].tool_calls, (ToolCall("c1", "f", written),))
        deep: Any = {}
        for _ in range(200):
            deep = {"a": deep}
        legacy = {"role": "assistant", "function_call": {"name": "f", "arguments": deep}}
        error = self.refused(messages=[legacy, {"role": "user", "content": "x"}])
        self.assertIn("levels deep", error.message)

    def test_parts_of_text_are_text(self) -> None:
        parts = [{"type": "text", "text": text} for text in ("", "```py\n1\n```", "")]
        parts.append({"type": "input_text", "text": "What is it?"})
        said = self.said(messages=[{"role": "user", "content": parts}]).messages[0].content
        self.assertEqual(said, "```py\n1\n```\nWhat is it?")

    def test_system_messages_ask_where_nobody_else_does(self) -> None:
        def said(*turns: str) -> tuple[list[str], tuple[str, ...]]:
            roles = {"s": "system", "d": "developer", "u": "user", "a": "assistant"}
            read = self.said(messages=[{"role": roles[turn[0]], "content": turn} for turn in turns])
            return [str(message.content) for message in read.messages], read.instructions

        def turn(text: str) -> str:
            return f"<instructions>\n{text}\n</instructions>"

        table: list[tuple[tuple[str, ...], list[str], tuple[str, ...]]] = [
            (("s1",), [turn("s1")], ()),
            (("s1", "d2"), [turn("d2")], ("s1",)),
            (("s1", "u", "a", "s2", "d3"), ["u", "a", turn("s2\n\nd3")], ("s1",)),
            (("s1", "a", "s2"), ["a", turn("s2")], ("s1",)),
            (("s1", "u", "s2"), ["u"], ("s1", "s2")),
            (("s1", "u", "s2", "a"), ["u", "a"], ("s1", "s2")),
        ]
        for turns, messages, instructions in table:
            self.assertEqual(said(*turns), (messages, instructions))

    def test_somebody_has_to_ask(self) -> None:
        for messages in ([{"role": "system", "content": ""}], [{"role": "assistant", "content": "a"}]):
            error = self.refused(messages=messages)
            self.assertEqual(error.message, "Missing user message in `messages`.")

    def test_a_tool_message_says_what_it_answers(self) -> None:
        error = self.refused(messages=[{"role": "tool", "content": "x"}])
        self.assertEqual(error.param, "messages[0].tool_call_id")


class Asking(ParsingCase):
    def test_sampling(self) -> None:
        said = self.said(
            temperature=0.5,
            top_p=1,
            frequency_penalty=-2,
            presence_penalty=2,
            seed=7,
            stop="END",
            max_tokens=5,
            max_completion_tokens=6,
            logit_bias={"50256": -100},
            reasoning_effort="low",
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
            parallel_tool_calls=False,
        )
        self.assertEqual(
            said.sampling,
            Sampling(
                temperature=0.5,
                top_p=1,
                frequency_penalty=-2,
                presence_penalty=2,
                seed=7,
                stop=("END",),
                max_tokens=6,
                logit_bias={"50256": -100},
                reasoning_effort="low",
                response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
                parallel_tool_calls=False,
            ),
        )

    def test_tools_and_their_choice(self) -> None:
        for choice, meant in {
            "auto": "auto",
            "required": "required",
            "none": "none",
            '{"type":"function","function":{"name":"f"}}': ("function", "f"),
        }.items():
            asked = json.loads(choice) if choice.startswith("{") else choice
            said = self.said(tools=[TOOL], tool_choice=asked)
            self.assertEqual((said.tools, said.tool_choice), ((ToolSpec("f"),), meant))

    def test_a_choice_needs_its_tool(self) -> None:
        self.assertEqual(self.refused(tool_choice="required").param, "tool_choice")
        named = {"type": "function", "function": {"name": "g"}}
        self.assertEqual(self.refused(tools=[TOOL], tool_choice=named).param, "tool_choice")

    def test_only_the_allowed_tools_are_offered(self) -> None:
        other = {"type": "function", "function": {"name": "g"}}

        def allowed(*names: str, **more: Any) -> dict[str, Any]:
            tools = [{"type": "function", "function": {"name": name}} for name in names]
            return {"type": "allowed_tools", "allowed_tools": {"tools": tools, **more}}

        for mode in ("auto", "required"):
            said = self.said(tools=[TOOL, other], tool_choice=allowed("g", mode=mode))
            self.assertEqual((said.tools, said.tool_choice), ((ToolSpec("g"),), mode))
        self.assertEqual(self.said(tools=[TOOL, other], tool_choice=allowed("f", "g")).tool_choice, "auto")
        table: list[tuple[dict[str, Any], str]] = [
            (allowed("h"), "tool_choice"),
            (allowed(), "tool_choice.allowed_tools.tools"),
            ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
            ({"type": "function"}, "tool_choice.function"),
        ]
        for choice, param in table:
            self.assertEqual(self.refused(tools=[TOOL], tool_choice=choice).param, param)

    def test_two_tools_of_one_name(self) -> None:
        self.assertEqual(self.refused(tools=[TOOL, TOOL]).param, "tools")


class Legacy(ParsingCase):
    """`functions` and `function_call`, as they were before there were tools."""

    FUNCTION: ClassVar[dict[str, Any]] = {"name": "f", "parameters": {"type": "object"}}

    def test_functions_are_tools(self) -> None:
        request, said = self.parse(functions=[self.FUNCTION], function_call={"name": "f"})
        self.assertTrue(request.legacy)
        self.assertEqual(said.tools, (ToolSpec("f", parameters={"type": "object"}),))
        self.assertEqual(said.tool_choice, ("function", "f"))
        self.assertEqual(said.sampling.parallel_tool_calls, False)

    def test_tools_win(self) -> None:
        request, said = self.parse(functions=[self.FUNCTION], tools=[TOOL])
        self.assertFalse(request.legacy)
        self.assertEqual(said.tools, (ToolSpec("f"),))

    def test_calls_and_results_are_tied_by_name(self) -> None:
        called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
        said = self.said(messages=[USER, called, {"role": "function", "name": "f", "content": "1"}])
        self.assertEqual(said.messages[1].tool_calls, (ToolCall("call_f", "f", "{}"),))
        self.assertEqual(said.messages[2].tool_call_id, "call_f")

    def test_an_unknown_function(self) -> None:
        error = self.refused(functions=[self.FUNCTION], function_call={"name": "g"})
        self.assertEqual(error.param, "function_call")
