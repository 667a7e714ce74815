import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.config.settings import ImagesSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.conversation import Conversation
from openclaw_twisted.http.parts import ContentLimits, Draft
from openclaw_twisted.http.responses_conversation import conversation_of
from openclaw_twisted.http.responses_request import ResponsesRequest, parse
from openclaw_twisted.testing import user
from tests.http.test_parts import base64, data_uri, padded

LIMITS = ContentLimits(
    ImagesSettings(max_bytes=1000, allow_url=True), max_images=2, max_total_bytes=1500, param="input"
)
TOOL = {"type": "function", "name": "f", "description": "It does f.", "parameters": {"type": "object"}}
OTHER = {"type": "function", "function": {"name": "g"}}
CRM = {"type": "namespace", "name": "crm", "description": "All about customers.", "tools": [TOOL]}


def said(**body: Any) -> Conversation:
    return conversation_of(parse(json.dumps({"input": "hi"} | body).encode()), LIMITS)


def messages(*items: Any) -> tuple[Message, ...]:
    return said(input=list(items)).messages


class Input(SynchronousTestCase):
    def test_text_is_what_the_user_says(self) -> None:
        self.assertEqual(said(input="Hello").messages, (user("Hello"),))

    def test_messages(self) -> None:
        self.assertEqual(
            messages(
                {"role": "system", "content": "a"},
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "b"}]},
                {"type": "message", "role": "user", "content": [{"type": "text", "text": "c"}]},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "d"}]},
                {"role": "user", "content": "e"},
            ),
            (
                Message(role="system", content="a"),
                Message(role="system", content="b"),
                user("c"),
                Message(role="assistant", content="d"),
                user("e"),
            ),
        )

    def test_calls_that_follow_each_other_were_made_together(self) -> None:
        def call(name: str) -> dict[str, Any]:
            return {"type": "function_call", "call_id": name, "name": "f", "arguments": "{}", "status": None}

        def output(name: str) -> dict[str, Any]:
            return {"type": "function_call_output", "call_id": name, "output": "1"}

        heard = messages(call("a"), {"type": "reasoning", "id": "r"}, call("b"), output("a"), call("c"))
        self.assertEqual(
            [[made.id for made in message.tool_calls] for message in heard], [["a", "b"], [], ["c"]]
        )
        self.assertEqual(heard[0].tool_calls[0], ToolCall("a", "f", "{}"))
        self.assertEqual(heard[1], Message(role="tool", content="1", tool_call_id="a"))

    def test_words_after_a_call_are_of_one_answer_with_it(self) -> None:
        call = {"type": "function_call", "call_id": "a", "name": "f"}
        png = padded(200)
        image = {"type": "input_image", "image_url": data_uri(png)}
        result = {"type": "function_call_output", "call_id": "a", "output": "1"}

        def says(content: Any) -> dict[str, Any]:
            return {"role": "assistant", "content": content}

        table: list[tuple[Any, Any]] = [
            ([says("x"), call, says("y"), says("z"), result], "x\ny\nz"),
            ([call, says([image]), says("y"), result], (ImagePart("image/png", base64(png)), TextPart("y"))),
        ]
        for items, content in table:
            answer, given = messages(*items)
            self.assertEqual((answer.content, [made.id for made in answer.tool_calls]), (content, ["a"]))
            self.assertEqual(given.tool_call_id, "a")
        first, second, _ = messages(says("x"), says("y"), {"role": "user", "content": "z"})
        self.assertEqual((first.content, second.content), ("x", "y"))

    def test_results_are_put_behind_their_calls(self) -> None:
        def told(text: str) -> list[str]:
            items: dict[str, Any] = {
                "c": {"type": "function_call", "name": "f"},
                "r": {"type": "function_call_output", "output": "1"},
                "u": {"role": "user", "content": "hi"},
                "a": {"role": "assistant", "content": "ok"},
            }
            said = messages(*(items[word[0]] | {"call_id": word[1:]} for word in text.split()))
            return [f"r{each.tool_call_id}" if each.role == "tool" else each.role[0] for each in said]

        table = {
            "c1 u r1 u": "a r1 u u",
            "c1 c2 u r2 r1": "a r2 r1 u",
            "c1 u a r1 u": "a r1 u a u",
            "u r1 r2": "r1 r2 u",
            "c1 r1 c1 u r1": "a r1 a r1 u",
            "c1 r1 a r1 u": "a r1 a r1 u",
        }
        for sent, heard in table.items():
            self.assertEqual(told(sent), heard.split(), sent)

    def test_system_messages_ask_where_nobody_else_does(self) -> None:
        def item(role: str, content: str) -> dict[str, Any]:
            return {"role": role, "content": content}

        asks = "<instructions>\nGreet.\n</instructions>"
        call = {"type": "function_call", "call_id": "a", "name": "f"}
        result = {"type": "function_call_output", "call_id": "a", "output": "1"}
        table: list[tuple[list[Any], list[tuple[str, str]]]] = [
            ([item("developer", "Greet.")], [("user", asks)]),
            (
                [item("system", "Be brief."), item("system", "Greet.")],
                [("system", "Be brief."), ("user", asks)],
            ),
            (
                [item("user", "hi"), item("assistant", "ho"), item("system", "Greet.")],
                [("user", "hi"), ("assistant", "ho"), ("user", asks)],
            ),
            (
                [call, result, item("system", "Greet.")],
                [("assistant", ""), ("tool", "1"), ("system", "Greet.")],
            ),
        ]
        for items, heard in table:
            self.assertEqual([(message.role, message.content) for message in messages(*items)], heard)

    def test_reasoning_is_not_told_again(self) -> None:
        reasoning = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "content": [{"type": "reasoning_text", "text": "Hmm."}],
            "encrypted_content": "x",
        }
        self.assertEqual(messages(reasoning, {"role": "user", "content": "hi"}), (user("hi"),))

    def test_images(self) -> None:
        parts = [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": data_uri(padded(50)), "detail": "low"},
        ]
        (message,) = messages({"role": "user", "content": parts})
        assert isinstance(message.content, tuple)
        text, image = message.content
        assert isinstance(image, ImagePart)
        self.assertEqual(text, TextPart("What is this?"))
        self.assertEqual((image.media_type, image.detail), ("image/png", "low"))

    def test_images_by_address_are_to_be_fetched(self) -> None:
        part = {"type": "input_image", "image_url": "https://example.org/a.png"}
        output = {"type": "function_call_output", "call_id": "c", "output": [part]}
        for item in ({"role": "user", "content": [part]}, output):
            (message,) = messages(item)
            self.assertIsInstance(message, Draft)

    def test_what_cannot_be_taken(self) -> None:
        png = {"type": "input_image", "image_url": data_uri(padded(50))}
        table: list[tuple[Any, str, str]] = [
            ([], "input", "Missing user message"),
            ([{"role": "assistant", "content": "a"}], "input", "Missing user message"),
            ([{"content": "a"}], "input[0].role", "is missing"),
            ([{"role": "tool", "content": "a"}], "input[0].role", "Invalid"),
            ([{"role": "user", "content": 5}], "input[0].content", "Expected"),
            ([{"role": "system", "content": [png]}], "input[0].content", "text only"),
            ([{"type": "web_search_call", "id": "w"}], "input[0].type", "web_search_call"),
            ([{"type": "<script>"}], "input[0].type", "another kind"),
            ([{"type": "function_call", "name": "f"}], "input[0].call_id", "is missing"),
            ([{"type": "function_call", "call_id": "c"}], "input[0].name", "is missing"),
            ([{"type": "function_call_output", "output": "1"}], "input[0].call_id", "is missing"),
            ([{"role": "user", "content": [{"type": "input_file"}]}], "input[0].content[0]", "Files"),
            (
                [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}],
                "input[0].content[0].image_url",
                "files are not kept",
            ),
            ([{"role": "user", "content": [png, png, png]}], "input", "may hold 2 images"),
            (5, "input", "Expected"),
        ]
        for given_input, param, words in table:
            with self.assertRaises(InvalidRequestError) as caught:
                said(input=given_input)
            self.assertEqual(caught.exception.param, param)
            self.assertIn(words, caught.exception.message)


class Asking(SynchronousTestCase):
    def test_tools_in_both_forms(self) -> None:
        tools = said(tools=[TOOL, OTHER]).tools
        self.assertEqual([tool.name for tool in tools], ["f", "g"])
        self.assertEqual((tools[0].description, tools[0].parameters), ("It does f.", {"type": "object"}))

    def test_functions_in_a_namespace_are_offered_by_one_name_each(self) -> None:
        other = {"type": "namespace", "name": "mail", "description": "", "tools": [OTHER]}
        conversation = said(tools=[TOOL, CRM, other], instructions="Be kind.")
        self.assertEqual([tool.name for tool in conversation.tools], ["f", "crm__f", "mail__g"])
        self.assertEqual(conversation.tools[1].description, "It does f.")
        note = "The tools whose names begin with crm__: All about customers."
        self.assertEqual(conversation.instructions, ("Be kind.", note))

    def test_a_call_of_a_function_in_a_namespace_is_told_by_that_name(self) -> None:
        call = {"type": "function_call", "call_id": "a", "namespace": "crm", "name": "f", "arguments": "{}"}
        answer, _ = messages(call, {"type": "function_call_output", "call_id": "a", "output": "1"})
        self.assertEqual(answer.tool_calls, (ToolCall("a", "crm__f", "{}"),))

    def test_tool_choices(self) -> None:
        table: list[tuple[Any, Any]] = [
            (None, None),
            ("auto", "auto"),
            ("none", "none"),
            ("required", "required"),
            ({"type": "function", "name": "g"}, ("function", "g")),
            ({"type": "function", "function": {"name": "g"}}, ("function", "g")),
        ]
        for choice, asked in table:
            conversation = said(tools=[TOOL, OTHER], tool_choice=choice)
            self.assertEqual((conversation.tool_choice, len(conversation.tools)), (asked, 2))

    def test_only_the_allowed_tools_are_offered(self) -> None:
        for mode in ("auto", "required"):
            choice = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "g"}]}
            conversation = said(tools=[TOOL, OTHER], tool_choice=choice)
            self.assertEqual([tool.name for tool in conversation.tools], ["g"])
            self.assertEqual(conversation.tool_choice, mode)

    def test_sampling(self) -> None:
        conversation = said(
            temperature=0.5,
            top_p=0.25,
            max_output_tokens=7,
            reasoning={"effort": "minimal"},
            parallel_tool_calls=False,
            text={"format": {"type": "json_object"}},
        )
        self.assertEqual(
            conversation.sampling,
            Sampling(
                temperature=0.5,
                top_p=0.25,
                max_tokens=7,
                reasoning_effort="minimal",
                parallel_tool_calls=False,
                response_format={"type": "json_object"},
            ),
        )

    def test_a_schema_is_asked_for_as_providers_know_it(self) -> None:
        flat = {"name": "s", "schema": {"type": "object"}, "strict": True}
        conversation = said(text={"format": {"type": "json_schema", **flat}})
        self.assertEqual(conversation.sampling.response_format, {"type": "json_schema", "json_schema": flat})

    def test_null_is_absent_and_unknown_fields_are_ignored(self) -> None:
        names = ResponsesRequest.__struct_fields__[1:]
        more = {"include": ["reasoning.encrypted_content"], "service_tier": "auto", "top_logprobs": 0}
        body = dict.fromkeys(names) | more
        self.assertEqual(said(**body), said())
        self.assertEqual(said(background=False), said())

    def test_what_cannot_be_asked_for(self) -> None:
        schema = {"type": "json_schema", "name": "s"}
        table: list[tuple[dict[str, Any], str, str]] = [
            ({"background": True}, "background", "background"),
            ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
            ({"prompt": {"id": "p"}}, "prompt", "instructions"),
            ({"tools": [{"type": "web_search"}]}, "tools[0].type", "web_search"),
            ({"tools": [{"type": "function"}]}, "tools[0].name", "is missing"),
            ({"tools": [TOOL, TOOL]}, "tools", "same name"),
            ({"tools": [CRM | {"name": None}]}, "tools[0].name", "is missing"),
            ({"tools": [CRM | {"tools": None}]}, "tools[0].tools", "is missing"),
            ({"tools": [CRM | {"tools": [CRM]}]}, "tools[0].tools[0].type", "namespace"),
            (
                {"tools": [CRM | {"tools": [{"type": "custom", "name": "x"}]}]},
                "tools[0].tools[0].type",
                "custom",
            ),
            ({"tools": [CRM, TOOL | {"name": "crm__f"}]}, "tools", "same name"),
            ({"tool_choice": "required"}, "tool_choice", "no tools"),
            ({"tool_choice": "sometimes"}, "tool_choice", "Invalid"),
            ({"tool_choice": {"type": "function", "name": "h"}, "tools": [TOOL]}, "tool_choice", "not among"),
            ({"tool_choice": {"type": "function"}}, "tool_choice.name", "is missing"),
            ({"tool_choice": {"type": "web_search"}}, "tool_choice.type", "Not one of"),
            (
                {"tool_choice": {"type": "allowed_tools", "tools": [{"name": "h"}]}, "tools": [TOOL]},
                "tool_choice",
                "not among",
            ),
            ({"text": {"format": schema}}, "text.format.schema", "is missing"),
            ({"text": {"format": schema | {"name": None}}}, "text.format.name", "is missing"),
            ({"text": {"format": {"type": "xml"}}}, "text.format.type", "Invalid"),
            ({"temperature": 3}, "temperature", "<= 2"),
            ({"max_output_tokens": 0}, "max_output_tokens", ">= 1"),
            ({"reasoning": {"effort": "much"}}, "reasoning.effort", "Invalid"),
            ({"metadata": {"a": 1}}, "metadata[...]", "Expected"),
            ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "16"),
            ({"stream": "yes"}, "stream", "Expected"),
        ]
        for body, param, words in table:
            with self.assertRaises(InvalidRequestError) as caught:
                said(**body)
            self.assertEqual(caught.exception.param, param)
            self.assertIn(words, caught.exception.message)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_no_json_gets_anything_but_an_answer_or_a_refusal(self, value: Any) -> None:
        for body in (value, {"input": value}, {"input": [value]}, {"input": "hi", "tools": [value]}):
            try:
                conversation_of(parse(json.dumps(body).encode()), LIMITS)
            except InvalidRequestError:
                continue
