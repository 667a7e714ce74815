"""Streamed messages of Anthropic's API as events, however their bytes arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.content import FinishReason, Usage
from openclaw_twisted.errors import (
    ContextLengthError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.anthropic_stream import MessageReader
from openclaw_twisted.sse import DONE, encode
from openclaw_twisted.testing import block_of, message_event, message_of

__all__ = ["BlockTests", "CountTests", "CutTests", "EndTests", "ErrorTests"]

TEXT = {"type": "text", "text": ""}
WEATHER = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}


def text(index: int, *pieces: str) -> list[bytes]:
    return block_of(index, TEXT, *({"type": "text_delta", "text": piece} for piece in pieces))


def call(index: int, *pieces: str, **block: object) -> list[bytes]:
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    return block_of(index, {**WEATHER, **block}, *deltas)


def read(pieces: Iterable[bytes]) -> list[ProviderEvent]:
    reader = MessageReader("mock")
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events if reader.finished else events + reader.end()


def joined(events: Iterable[ProviderEvent]) -> list[object]:
    """Return what the events say, however finely the text was cut."""
    said: list[object] = []
    for event in events:
        if isinstance(event, TextDelta) and said and isinstance(said[-1], TextDelta):
            said[-1] = TextDelta(said[-1].text + event.text)
        else:
            said.append(event)
    return said


class BlockTests(SynchronousTestCase):
    """Blocks become the events of their kind."""

    def test_text(self) -> None:
        self.assertEqual(
            read(message_of(text(0, "Hel", "lo"))),
            [TextDelta("Hel"), TextDelta("lo"), Finished("stop", Usage(3, 2, 5))],
        )

    def test_a_read_with_many_events_is_one_batch(self) -> None:
        reader = MessageReader("mock")
        events = reader.feed(b"".join(message_of(text(0, "a", "b"))))
        self.assertEqual(events, [TextDelta("a"), TextDelta("b"), Finished("stop", Usage(3, 2, 5))])
        self.assertTrue(reader.finished)

    def test_thinking_is_reasoning_and_its_signature_nothing(self) -> None:
        thinking = block_of(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Let me"},
            {"type": "thinking_delta", "thinking": " see."},
            {"type": "signature_delta", "signature": "EqQBCgIYAhIM"},
        )
        redacted = block_of(1, {"type": "redacted_thinking", "data": "EmwKAhgBEgy"})
        events = read(message_of(thinking, redacted, text(2, "27")))
        self.assertEqual(events[:-1], [ReasoningDelta("Let me"), ReasoningDelta(" see."), TextDelta("27")])

    def test_calls_are_counted_among_themselves(self) -> None:
        events = read(
            message_of(
                text(0, "Checking."),
                call(1, "", '{"city": "San ', 'Francisco"}'),
                call(2, '{"city":"Oslo"}', id="toolu_2"),
                stop_reason="tool_use",
            )
        )
        self.assertEqual(
            events,
            [
                TextDelta("Checking."),
                ToolCallDelta(0, "toolu_1", "weather"),
                ToolCallDelta(0, arguments='{"city": "San '),
                ToolCallDelta(0, arguments='Francisco"}'),
                ToolCallDelta(1, "toolu_2", "weather"),
                ToolCallDelta(1, arguments='{"city":"Oslo"}'),
                Finished("tool_calls", Usage(3, 2, 5)),
            ],
        )

    def test_a_call_without_arguments_has_an_empty_object(self) -> None:
        for pieces in ((), ("",)):
            events = read(message_of(call(0, *pieces), stop_reason="tool_use"))
            self.assertEqual(
                events[:2], [ToolCallDelta(0, "toolu_1", "weather"), ToolCallDelta(0, arguments="{}")]
            )

    def test_a_call_that_comes_whole_at_its_beginning(self) -> None:
        events = read(message_of(call(0, input={"city": "Oslo"}), stop_reason="tool_use"))
        self.assertEqual(events[:-1], [ToolCallDelta(0, "toolu_1", "weather", '{"city":"Oslo"}')])

    def test_text_at_the_beginning_of_a_block(self) -> None:
        block = block_of(0, {"type": "text", "text": "He"}, {"type": "text_delta", "text": "llo"})
        self.assertEqual(read(message_of(block))[:-1], [TextDelta("He"), TextDelta("llo")])

    def test_what_is_null_is_nothing(self) -> None:
        beginnings: list[dict[str, Any]] = [
            {"type": "text", "text": None},
            {"type": "thinking", "thinking": None},
        ]
        for block in beginnings:
            delta = {"type": "text_delta", "text": "a", "thinking": None, "partial_json": None}
            events = read(message_of(block_of(0, block, delta)))
            self.assertEqual(events[:-1], [TextDelta("a")])

    def test_what_is_not_known_is_passed_over(self) -> None:
        unknown = block_of(
            0, {"type": "server_tool_use", "id": "s", "name": "x", "input": {}}, {"type": "new"}
        )
        citation = block_of(1, TEXT, {"type": "citations_delta"}, {"type": "text_delta", "text": "a"})
        events = read([message_event("news", of=["tomorrow"]), *message_of(unknown, citation)])
        self.assertEqual(events[:-1], [TextDelta("a")])


class EndTests(SynchronousTestCase):
    """A message is complete when it has said why it ended."""

    def test_the_reasons(self) -> None:
        table: dict[str, FinishReason] = {
            "end_turn": "stop",
            "stop_sequence": "stop",
            "pause_turn": "stop",
            "max_tokens": "length",
            "model_context_window_exceeded": "length",
            "tool_use": "tool_calls",
            "refusal": "content_filter",
            "a_new_one": "stop",
        }
        for theirs, ours in table.items():
            (finished,) = read(message_of(stop_reason=theirs))
            self.assertEqual(finished, Finished(ours, Usage(3, 2, 5)), theirs)

    def test_the_end_of_a_turn_after_a_call_means_tool_calls(self) -> None:
        events = read(message_of(call(0, "{}"), stop_reason="end_turn"))
        self.assertEqual(events[-1], Finished("tool_calls", Usage(3, 2, 5)))

    def test_without_its_last_event_it_is_complete(self) -> None:
        self.assertEqual(read(message_of(text(0, "a"))[:-1])[-1], Finished("stop", Usage(3, 2, 5)))

    def test_without_its_reason_it_is_not(self) -> None:
        whole = message_of(text(0, "a"), call(1, "{}"))
        for length in range(len(whole) - 1):
            with self.assertRaises(UpstreamError, msg=str(length)):
                read(whole[:length])
        with self.assertRaises(UpstreamError):
            read([*whole[:-2], whole[-1]])

    def test_nothing_follows_the_end(self) -> None:
        late = message_event("error", error={"type": "api_error", "message": "late"})
        self.assertEqual(read([b"".join(message_of(text(0, "a"))) + late])[0], TextDelta("a"))

    def test_done_as_other_apis_say_it_says_nothing(self) -> None:
        self.assertEqual(len(read([*message_of(), DONE])), 1)
        with self.assertRaises(UpstreamError):
            read([*message_of()[:-2], DONE])


class CountTests(SynchronousTestCase):
    """Tokens as they were counted."""

    def usage(self, events: list[bytes]) -> Usage | None:
        finished = read(events)[-1]
        assert isinstance(finished, Finished)
        return finished.usage

    def test_the_prompt_includes_what_the_cache_read_and_wrote(self) -> None:
        events = message_of(usage=(3, 2), cache_read_input_tokens=100, cache_creation_input_tokens=20)
        self.assertEqual(self.usage(events), Usage(123, 2, 125, cached_tokens=100))

    def test_the_last_count_of_each_kind_holds(self) -> None:
        counts = {"input_tokens": 7, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5}}
        delta = message_event("message_delta", delta={"stop_reason": "end_turn"}, usage=counts)
        events = [*message_of(cache_read_input_tokens=1)[:-2], delta, message_event("message_stop")]
        self.assertEqual(self.usage(events), Usage(8, 9, 17, cached_tokens=1, reasoning_tokens=5))

    def test_counts_that_nobody_can_have_made(self) -> None:
        for wild in (-1, 2**60):
            events = message_of(usage=(3, wild), cache_read_input_tokens=wild)
            self.assertEqual(self.usage(events), Usage(3, 0, 3))

    def test_counts_that_did_not_come_are_not_made_up(self) -> None:
        delta = message_event("message_delta", delta={"stop_reason": "end_turn"})
        self.assertIsNone(self.usage([message_event("message_start", message={}), delta]))


class ErrorTests(SynchronousTestCase):
    """What goes wrong inside a stream is what it would have been before it."""

    def raised(self, *pieces: bytes) -> UpstreamError:
        with self.assertRaises(UpstreamError) as caught:
            read(pieces)
        error: UpstreamError = caught.exception
        return error

    def test_every_kind_of_error(self) -> None:
        table: dict[str, type[UpstreamError]] = {
            "overloaded_error": UpstreamOverloadedError,
            "rate_limit_error": UpstreamRateLimitError,
            "authentication_error": UpstreamAuthError,
            "permission_error": UpstreamAuthError,
            "timeout_error": UpstreamTimeoutError,
            "invalid_request_error": UpstreamRejectedError,
            "billing_error": UpstreamAuthError,
            "request_too_large": UpstreamRejectedError,
            "not_found_error": UpstreamRejectedError,
            "api_error": UpstreamError,
            "a_new_one": UpstreamError,
        }
        for kind, expected in table.items():
            event = message_event("error", error={"type": kind, "message": "Told so"})
            error = self.raised(message_of(text(0, "half"))[0], event)
            self.assertIs(type(error), expected, kind)
            if expected is not UpstreamAuthError:
                self.assertIn("Told so", error.message)

    def test_a_prompt_that_is_too_long(self) -> None:
        for words in (
            "prompt is too long: 210000 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        ):
            event = message_event("error", error={"type": "invalid_request_error", "message": words})
            error = self.raised(event)
            self.assertIsInstance(error, ContextLengthError)
            self.assertIn(words, error.message)

    def test_an_error_does_not_repeat_what_is_secret(self) -> None:
        reader = MessageReader("mock")
        reader.secrets = ("hunter2hunter2",)
        with self.assertRaises(UpstreamError) as raised:
            reader.feed(encode(b'{"type":"error","error":{"message":"bad key hunter2hunter2"}}'))
        self.assertIn("bad key ***", raised.exception.message)

    def test_an_error_of_no_shape(self) -> None:
        for error in (None, "boiler", 7, {"type": ["x"]}):
            self.assertIs(type(self.raised(message_event("error", error=error))), UpstreamError)

    def test_garbage(self) -> None:
        for garbage in (
            b"{",
            b"[]",
            b"\xff",
            b'{"no":"type"}',
            b'{"type":"x","index":"one"}',
            b"null",
            b"[" * 9999,
        ):
            self.assertIn("no event of a message", self.raised(encode(garbage)).message)

    def test_an_event_without_end(self) -> None:
        self.assertIn("oversized", self.raised(b"data: " + b"x" * (10 * 1024 * 1024 + 1)).message)


WHOLE = message_of(
    block_of(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm — ß"}),
    text(1, "Grüße", ", 世界"),
    call(2, '{"a":', '"é"}'),
    stop_reason="tool_use",
)
BYTES = b"".join(WHOLE)
EVENTS = read([BYTES])

FIELDS = ["index", "message", "content_block", "delta", "usage", "error"]
KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
KINDS += ["error", "message_stop", "ping", ""]
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=9)
JSON = st.recursive(
    LEAVES | st.sampled_from(["tool_use", "text", "input_json_delta", "end_turn"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "id", "name", "input", "usage", "stop_reason", "input_tokens"]),
            inner,
        )
    ),
    max_leaves=9,
)


class CutTests(SynchronousTestCase):
    """It does not matter where the network cuts the bytes, or the model its text."""

    def test_every_cut_in_two(self) -> None:
        for at in range(len(BYTES)):
            self.assertEqual(read([BYTES[:at], BYTES[at:]]), EVENTS, at)

    def test_byte_by_byte(self) -> None:
        self.assertEqual(read([bytes([byte]) for byte in BYTES]), EVENTS)

    def test_every_end_that_comes_too_early(self) -> None:
        said_why = len(b"".join(WHOLE[:-1])) - len(b"\n\n")
        complete = []
        for length in range(len(BYTES)):
            reader = MessageReader("mock")
            try:
                events = reader.feed(BYTES[:length]) + reader.end()
            except UpstreamError:
                continue
            self.assertEqual(events, EVENTS, length)
            complete.append(length)
        self.assertEqual((complete[0], complete[-1]), (said_why, len(BYTES) - 1))

    @given(st.lists(st.integers(min_value=0, max_value=len(BYTES)), max_size=30))
    def test_any_cuts(self, cuts: list[int]) -> None:
        edges = [0, *sorted(cuts), len(BYTES)]
        self.assertEqual(read([BYTES[start:end] for start, end in pairwise(edges)]), EVENTS)

    @given(st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.binary(max_size=3)), min_size=1, max_size=8))
    def test_damaged_bytes_are_no_defect(self, damage: list[tuple[int, bytes]]) -> None:
        stream = BYTES
        for at, wrong in damage:
            stream = stream[:at] + wrong + stream[at + 1 :]
        with contextlib.suppress(UpstreamError):
            finished = read([stream])[-1]
            self.assertIsInstance(finished, Finished)

    @given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from(KINDS))
    def test_fields_of_any_kind_are_no_defect(self, fields: dict[str, Any], kind: str) -> None:
        with contextlib.suppress(UpstreamError):
            read([message_event(kind, **fields), *WHOLE])

    @given(
        st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4),
        st.lists(st.lists(st.text(max_size=4), max_size=4), max_size=3),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
    )
    def test_any_blocks(self, pieces: list[str], calls: list[list[str]], line_end: bytes) -> None:
        blocks = [text(0, *pieces), *(call(place, *parts) for place, parts in enumerate(calls, start=1))]
        stream = b"".join(message_of(*blocks)).replace(b"\n", line_end)
        said = joined(read([stream[: len(stream) // 2], stream[len(stream) // 2 :]]))
        self.assertEqual(said[0], TextDelta("".join(pieces)))
        for place, parts in enumerate(calls):
            arguments = "".join(
                event.arguments for event in said if isinstance(event, ToolCallDelta) and event.index == place
            )
            self.assertEqual(arguments, "".join(parts) or "{}")
