import json
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest, Sampling
from openclaw_twisted.config.settings import CompatSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, ToolSpec, Usage
from openclaw_twisted.errors import (
    ContextLengthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
)
from openclaw_twisted.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.openai_completions import NO_ANSWER, request_body
from openclaw_twisted.providers.openai_stream import StreamReader
from openclaw_twisted.runs.turn import Reply
from openclaw_twisted.sse import DONE, encode
from openclaw_twisted.testing import chunk


def read(*pieces: bytes) -> list[ProviderEvent]:
    reader = StreamReader("mock")
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events if reader.finished else events + reader.end()


class Reading(SynchronousTestCase):
    def test_text_then_counts_then_the_end(self) -> None:
        counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        counts_chunk = encode(json.dumps({"choices": [], "usage": counts}).encode())
        events = read(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            counts_chunk,
            DONE,
        )
        self.assertEqual(events, [TextDelta("Hel"), TextDelta("lo"), Finished("stop", Usage(3, 2, 5))])

    def test_a_read_with_many_events_is_one_batch(self) -> None:
        reader = StreamReader("mock")
        events = reader.feed(chunk({"content": "a"}) + chunk({"content": "b"}) + chunk({}, "stop") + DONE)
        self.assertEqual(events, [TextDelta("a"), TextDelta("b"), Finished("stop")])
        self.assertTrue(reader.finished)

    def test_reasoning_under_both_names(self) -> None:
        events = read(chunk({"reasoning_content": "hm"}), chunk({"reasoning": "so"}), chunk({}, "stop"), DONE)
        self.assertEqual(events[:2], [ReasoningDelta("hm"), ReasoningDelta("so")])

    def test_tool_calls_in_fragments(self) -> None:
        first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
        more = {"index": 0, "function": {"arguments": '{"a":1}'}}
        events = read(
            chunk({"tool_calls": [first]}), chunk({"tool_calls": [more]}), chunk({}, "tool_calls"), DONE
        )
        self.assertEqual(
            events,
            [
                ToolCallDelta(0, "c1", "f", ""),
                ToolCallDelta(0, arguments='{"a":1}'),
                Finished("tool_calls"),
            ],
        )

    def test_calls_that_do_not_say_which_they_are(self) -> None:
        def call(name: str | None, arguments: str, call_id: str | None) -> dict[str, Any]:
            return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

        whole = [call("f", '{"a":1}', "c1"), call("f", '{"a":2}', "c2")]
        parts = [
            call("f", '{"a"', "c1"),
            call(None, ":1}", None),
            call("f", '{"a":', "c2"),
            call(None, "2}", "c2"),
        ]
        for chunks in ([whole], [whole[:1], whole[1:]], [[part] for part in parts]):
            events = read(*(chunk({"tool_calls": calls}) for calls in chunks), chunk({}, "stop"), DONE)
            reply = Reply()
            reply.take(events)
            self.assertEqual(
                reply.message().tool_calls, (ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "f", '{"a":2}'))
            )
            self.assertEqual(reply.reason, "tool_calls")

    def test_calls_without_a_name_of_their_own_get_one(self) -> None:
        nothings: list[dict[str, Any]] = [{}, {"id": ""}, {"id": None}]
        for nothing in nothings:
            calls: list[dict[str, Any]] = [
                {**nothing, "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")
            ]
            for place, call in enumerate(calls):
                call.update({"index": place} if nothing else {})
            events = read(chunk({"tool_calls": calls}), chunk({}, "tool_calls"), DONE)
            begun = [event for event in events if isinstance(event, ToolCallDelta)]
            self.assertEqual([(event.index, event.name) for event in begun], [(0, "f"), (1, "g")])
            self.assertEqual(len({event.id for event in begun}), 2)
            self.assertTrue(all(event.id for event in begun))

    def test_a_call_begins_once(self) -> None:
        """Who adds up what a stream says of a call, as OpenAI's own client does, would name it twice."""
        for more in ({"id": "c1", "name": "f"}, {"id": "c2", "name": None}, {"id": "", "name": ""}):
            pieces = [
                {"index": 0, "id": each["id"], "function": {"name": each["name"], "arguments": "{"}}
                for each in ({"id": "c1", "name": "f"}, more, more)
            ]
            events = read(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk({}, "stop"), DONE)
            begins, goes_on = ToolCallDelta(0, "c1", "f", "{"), ToolCallDelta(0, arguments="{")
            self.assertEqual(events[:-1], [begins, goes_on, goes_on], more)

    def test_a_call_that_is_named_later(self) -> None:
        pieces = [
            {"index": 0, "id": "c1", "function": {"name": ""}},
            {"index": 0, "function": {"name": "f", "arguments": "{}"}},
        ]
        events = read(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk({}, "stop"), DONE)
        self.assertEqual(events[:-1], [ToolCallDelta(0, "c1"), ToolCallDelta(0, name="f", arguments="{}")])

    def test_arguments_as_an_object(self) -> None:
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}
        events = read(chunk({"tool_calls": [call]}), chunk({}, "stop"), DONE)
        self.assertEqual(events[0], ToolCallDelta(0, "c1", "f", '{"a":1}'))

    def test_content_in_parts(self) -> None:
        plain = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": None}]
        self.assertEqual(read(chunk({"content": plain}, "stop"), DONE)[:-1], [ReasoningDelta("Hm.")])
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
        events = read(
            chunk({"content": [thinking]}),
            chunk({"content": [{"type": "text", "text": "42"}, {"type": "reference", "reference_ids": [1]}]}),
            chunk({"content": "!"}, "stop"),
            DONE,
        )
        self.assertEqual(events[:-1], [ReasoningDelta("Hm."), TextDelta("42"), TextDelta("!")])

    def test_counts_in_a_place_of_their_own(self) -> None:
        counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        events = read(chunk({}, "stop", x_groq={"id": "req_1", "usage": counts}), DONE)
        self.assertEqual(events, [Finished("stop", Usage(3, 2, 5))])

    def test_stop_after_a_call_means_tool_calls(self) -> None:
        call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
        self.assertEqual(
            read(chunk({"tool_calls": [call]}), chunk({}, "stop"), DONE)[-1], Finished("tool_calls")
        )

    def test_the_finish_reasons(self) -> None:
        for theirs, ours in {
            "stop": "stop",
            "length": "length",
            "model_length": "length",
            "content_filter": "content_filter",
            "function_call": "tool_calls",
            "eos": "stop",
        }.items():
            self.assertEqual(read(chunk({}, theirs), DONE), [Finished(ours)], theirs)  # type: ignore[arg-type]

    def test_an_end_after_the_finish_reason_needs_no_done(self) -> None:
        self.assertEqual(read(chunk({"content": "a"}), chunk({}, "stop")), [TextDelta("a"), Finished("stop")])

    def test_the_first_of_two_finishes_counts_and_nothing_follows_done(self) -> None:
        events = read(chunk({}, "length"), chunk({}, "stop"), DONE + chunk({"content": "late"}))
        self.assertEqual(events, [Finished("length")])

    def test_an_end_before_the_finish_reason_is_no_answer(self) -> None:
        for pieces in ([], [chunk({"content": "half"})], [chunk({"content": "half"}), DONE]):
            with self.assertRaises(UpstreamError):
                read(*pieces)

    def test_garbage_is_no_answer(self) -> None:
        for garbage in (
            b"{",
            b'"text"',
            b"\xff",
            b'{"choices":{}}',
            b'{"choices":[{"delta":{"content":1}}]}',
        ):
            with self.assertRaises(UpstreamError, msg=repr(garbage)):
                read(encode(garbage))

    def test_an_error_in_the_stream_is_told(self) -> None:
        with self.assertRaises(UpstreamError) as caught:
            read(encode(b'{"error":{"message":"boiler exploded","code":500}}'))
        self.assertIn("boiler exploded", caught.exception.message)
        self.assertNotIsInstance(caught.exception, UpstreamRateLimitError)

    def test_an_error_in_the_stream_is_what_it_would_have_been_before(self) -> None:
        for code, expected in [
            (429, UpstreamRateLimitError),
            ("429", UpstreamRateLimitError),
            ("rate_limit_exceeded", UpstreamRateLimitError),
            (503, UpstreamOverloadedError),
            (7, UpstreamError),
            (None, UpstreamError),
            ([429], UpstreamError),
        ]:
            error = {"error": {"code": code, "message": "no"}, "choices": [{"finish_reason": "error"}]}
            with self.assertRaises(UpstreamError) as caught:
                read(encode(json.dumps(error).encode()))
            self.assertIs(type(caught.exception), expected)

    def test_a_conversation_that_is_too_long_for_a_model_on_somebodys_desk(self) -> None:
        said = b'{"error":{"message":"The prompt is greater than the context length."}}'
        with self.assertRaises(ContextLengthError):
            read(b"event: error\n" + encode(said))

    def test_a_finish_by_an_error_is_no_answer(self) -> None:
        for reason in (
            "error",
            "abort",
            "insufficient_system_resource",
            "network_error",
            "function_call_filter: MALFORMED_FUNCTION_CALL",
        ):
            with self.assertRaises(UpstreamError, msg=reason):
                read(chunk({"content": "half"}), chunk({}, reason), DONE)

    def test_a_whole_completion_in_one_event(self) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"role": "assistant", "content": "hi", "tool_calls": [call]}
        whole = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
        events = read(encode(json.dumps(whole).encode()))
        self.assertEqual(events, [TextDelta("hi"), ToolCallDelta(0, "c1", "f", "{}"), Finished("tool_calls")])

    def test_counts_with_details(self) -> None:
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
        self.assertEqual(
            read(chunk({}, "stop", usage=usage), DONE), [Finished("stop", Usage(10, 4, 14, 8, 3))]
        )


def body(request: ModelRequest, compat: CompatSettings | None = None) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(request_body(request, compat or CompatSettings()))
    return sent


HELLO = ModelRequest(model="m", messages=(Message(role="user", content="hi"),))


class Asking(SynchronousTestCase):
    def test_the_least_request(self) -> None:
        self.assertEqual(
            body(HELLO),
            {
                "model": "m",
                "messages": [{"role": "user", "content": "hi"}],
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        )

    def test_messages_that_are_hardly_more_than_text(self) -> None:
        messages = (
            Message(role="assistant", content=""),
            Message(role="assistant", content="I'll look.", tool_calls=(ToolCall("c1", "f", "{}"),)),
            Message(role="user", content="hi", name="ann"),
            Message(role="user", content="hi", tool_call_id="c1"),
        )
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        self.assertEqual(
            body(ModelRequest(model="m", messages=messages))["messages"],
            [
                {"role": "assistant", "content": NO_ANSWER},
                {"role": "assistant", "content": "I'll look.", "tool_calls": [call]},
                {"role": "user", "content": "hi", "name": "ann"},
                {"role": "user", "content": "hi", "tool_call_id": "c1"},
            ],
        )
        short = body(
            ModelRequest(model="m", messages=messages), CompatSettings(requires_mistral_tool_ids=True)
        )
        self.assertRegex(short["messages"][3]["tool_call_id"], "^[a-zA-Z0-9]{9}$")

    def test_every_kind_of_message(self) -> None:
        messages = (
            Message(role="system", content="be brief"),
            Message(
                role="user",
                content=(TextPart("what?"), ImagePart("image/png", "QUJD", detail="low")),
                name="ann",
            ),
            Message(role="assistant", tool_calls=(ToolCall("c1", "f", '{"x":1}'),)),
            Message(role="tool", content="42", tool_call_id="c1"),
        )
        self.assertEqual(
            body(ModelRequest(model="m", messages=messages))["messages"],
            [
                {"role": "system", "content": "be brief"},
                {
                    "role": "user",
                    "name": "ann",
                    "content": [
                        {"type": "text", "text": "what?"},
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"},
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
                    ],
                },
                {"role": "tool", "content": "42", "tool_call_id": "c1"},
            ],
        )

    def test_an_answer_that_said_nothing(self) -> None:
        said = [
            Message(role="assistant"),
            Message(role="assistant", content=()),
            Message(role="assistant", tool_calls=(ToolCall("c1", "f", "{}"),)),
        ]
        sent = body(ModelRequest(model="m", messages=(*said, Message(role="user"))))["messages"]
        self.assertEqual([each["content"] for each in sent], [NO_ANSWER, NO_ANSWER, None, ""])

    def test_sampling_and_tools(self) -> None:
        tool = ToolSpec("f", "does f", {"type": "object"})
        request = ModelRequest(
            model="m",
            messages=HELLO.messages,
            tools=(tool,),
            tool_choice=("function", "f"),
            sampling=Sampling(temperature=0.0, stop=("END",), max_tokens=7, parallel_tool_calls=False),
        )
        sent = body(request)
        self.assertEqual(
            sent["tools"],
            [
                {
                    "type": "function",
                    "function": {"name": "f", "description": "does f", "parameters": {"type": "object"}},
                }
            ],
        )
        self.assertEqual(sent["tool_choice"], {"type": "function", "function": {"name": "f"}})
        self.assertEqual(
            {key: sent[key] for key in ("temperature", "stop", "max_tokens", "parallel_tool_calls")},
            {"temperature": 0.0, "stop": ["END"], "max_tokens": 7, "parallel_tool_calls": False},
        )

    def test_what_is_not_supported_is_not_sent(self) -> None:
        tool = ToolSpec(name="look", parameters={"type": "object"}, strict=True)
        request = ModelRequest(
            model="m",
            messages=(Message(role="user", content="hi"),),
            tools=(tool,),
            sampling=Sampling(reasoning_effort="low"),
        )
        for supported in (None, True, False):
            compat = CompatSettings(supports_reasoning_effort=supported, supports_strict_mode=supported)
            sent = body(request, compat)
            self.assertEqual("reasoning_effort" in sent, supported is not False)
            self.assertEqual("strict" in sent["tools"][0]["function"], supported is not False)

    def test_compat_shapes_the_request(self) -> None:
        request = ModelRequest(
            model="m",
            messages=(Message(role="user", content=(TextPart("a"), TextPart("b"))),),
            tools=(ToolSpec("f"),),
            tool_choice="auto",
            sampling=Sampling(max_tokens=7, parallel_tool_calls=True),
        )
        compat = CompatSettings(
            max_tokens_field="max_completion_tokens",
            supports_usage_in_streaming=False,
            requires_string_content=True,
            supports_tools=False,
        )
        self.assertEqual(
            body(request, compat),
            {
                "model": "m",
                "messages": [{"role": "user", "content": "ab"}],
                "stream": True,
                "max_completion_tokens": 7,
            },
        )

    def test_the_system_prompt_in_a_role_of_its_own(self) -> None:
        messages = (Message(role="system", content="be brief"), *HELLO.messages)
        for supported, role in [(None, "system"), (False, "system"), (True, "developer")]:
            sent = body(
                ModelRequest(model="m", messages=messages), CompatSettings(supports_developer_role=supported)
            )
            self.assertEqual([message["role"] for message in sent["messages"]], [role, "user"])

    def test_what_is_kept_by_the_provider(self) -> None:
        for supported, told in [(None, None), (False, None), (True, False)]:
            sent = body(HELLO, CompatSettings(supports_store=supported))
            self.assertIs(sent.get("store"), told)

    def test_what_some_want_of_earlier_calls(self) -> None:
        calls = (ToolCall("call_1", "f", "{}"), ToolCall("abcDEF123", "f", "{}"))
        messages = (
            *HELLO.messages,
            Message(role="assistant", tool_calls=calls),
            *(Message(role="tool", content="x", tool_call_id=call.id) for call in calls),
            Message(role="assistant", content="done"),
        )
        request = ModelRequest(model="m", messages=messages)
        plain = body(request)["messages"]
        self.assertEqual([call["id"] for call in plain[1]["tool_calls"]], ["call_1", "abcDEF123"])
        self.assertNotIn("reasoning_content", plain[1])
        short = body(request, CompatSettings(requires_mistral_tool_ids=True))["messages"]
        ids = [call["id"] for call in short[1]["tool_calls"]]
        self.assertRegex(ids[0], "^[a-zA-Z0-9]{9}$")
        self.assertEqual(ids[1], "abcDEF123")
        self.assertEqual([message["tool_call_id"] for message in short[2:4]], ids)
        compat = CompatSettings(requires_reasoning_content_on_assistant_messages=True)
        thought = body(request, compat)["messages"]
        self.assertEqual(
            [message.get("reasoning_content") for message in thought], [None, "", None, None, ""]
        )
        signed = body(request, CompatSettings(requires_thought_signatures=True))["messages"][1]["tool_calls"]
        self.assertEqual(
            [call["extra_content"] for call in signed],
            [{"google": {"thought_signature": "skip_thought_signature_validator"}}] * 2,
        )

    def test_images_are_never_dropped_without_a_word(self) -> None:
        messages = (Message(role="user", content=(TextPart("a"), ImagePart("image/png", "QUJD"))),)
        sent = body(ModelRequest(model="m", messages=messages), CompatSettings(requires_string_content=True))
        self.assertEqual([part["type"] for part in sent["messages"][0]["content"]], ["text", "image_url"])

    def test_levels_of_thinking_that_the_api_has_no_word_for(self) -> None:
        table = {"none": "none", "minimal": "minimal", "xhigh": "xhigh", "max": "xhigh", "ultra": "xhigh"}
        for level, effort in table.items():
            sampling = Sampling(reasoning_effort=level)
            self.assertEqual(body(replace(HELLO, sampling=sampling))["reasoning_effort"], effort)
        for sampling in (
            Sampling(reasoning_effort="off"),
            Sampling(reasoning_effort="adaptive"),
            Sampling(thinking="high", cache_retention="long"),
        ):
            self.assertEqual(body(replace(HELLO, sampling=sampling)), body(HELLO))

    def test_the_choice_of_no_tool_leaves_the_tools_out(self) -> None:
        request = ModelRequest(model="m", messages=HELLO.messages, tools=(ToolSpec("f"),), tool_choice="none")
        self.assertNotIn("tools", body(request))
        self.assertNotIn("tool_choice", body(request))
