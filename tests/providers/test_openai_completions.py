import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import ModelRequest, Sampling
from openclaw_twisted.config.settings import CompatSettings
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, ToolSpec, Usage
from openclaw_twisted.errors import UpstreamError, UpstreamRateLimitError
from openclaw_twisted.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.openai_completions import StreamReader, request_body
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

    def test_stop_after_a_call_means_tool_calls(self) -> None:
        call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
        self.assertEqual(
            read(chunk({"tool_calls": [call]}), chunk({}, "stop"), DONE)[-1], Finished("tool_calls")
        )

    def test_the_finish_reasons(self) -> None:
        for theirs, ours in {
            "stop": "stop",
            "length": "length",
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

    def test_the_choice_of_no_tool_leaves_the_tools_out(self) -> None:
        request = ModelRequest(model="m", messages=HELLO.messages, tools=(ToolSpec("f"),), tool_choice="none")
        self.assertNotIn("tools", body(request))
        self.assertNotIn("tool_choice", body(request))
