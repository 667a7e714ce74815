"""Answers of OpenAI-compatible servers, cut anywhere and with what servers make of the format."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.content import Usage
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import Finished, ProviderEvent, TextDelta
from openclaw_twisted.providers.anthropic_stream import MessageReader
from openclaw_twisted.providers.openai_stream import StreamReader
from openclaw_twisted.providers.refusals import refusal
from openclaw_twisted.providers.streamed import MAX_TOKENS
from openclaw_twisted.sse import DONE, encode
from openclaw_twisted.testing import chunk, stream_of
from tests.test_sse import BOM, split

__all__ = ["ReadingTests"]

ANSWER = b"".join(stream_of("Hello,", " w\u00f6rld", "!"))
FINISHED = Finished("stop", Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5))
CUTS = st.lists(st.integers(0, 2000), max_size=20)


def read(*chunks: bytes) -> list[ProviderEvent]:
    """Return what a whole answer says."""
    reader = StreamReader("mock")
    events = [event for piece in chunks for event in reader.feed(piece)]
    if not reader.finished:
        events += reader.end()
    return events


def text_of(events: list[ProviderEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


class ReadingTests(SynchronousTestCase):
    def assert_whole(self, *chunks: bytes) -> None:
        events = read(*chunks)
        self.assertEqual((text_of(events), events[-1]), ("Hello, w\u00f6rld!", FINISHED))

    def assert_broken(self, data: bytes, says: str) -> None:
        with self.assertRaises(UpstreamError) as raised:
            read(data)
        self.assertIs(type(raised.exception), UpstreamError)
        self.assertIn(says, raised.exception.message)

    @given(CUTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.sampled_from([b"", BOM, b": hi\n\n", b"\n"]))
    def test_any_split_line_end_and_beginning(self, cuts: list[int], end: bytes, first: bytes) -> None:
        self.assert_whole(*split(first + ANSWER.replace(b"\n", end), cuts))

    def test_what_servers_leave_out(self) -> None:
        for wire in (
            ANSWER.removesuffix(DONE),
            ANSWER.removesuffix(b"\n\n"),
            ANSWER.removesuffix(b"\n"),
            ANSWER.removesuffix(DONE).removesuffix(b"\n\n"),
            ANSWER.replace(b"data: ", b"data:"),
        ):
            self.assert_whole(wire)

    def test_what_servers_add(self) -> None:
        for extra in (
            b": OPENROUTER PROCESSING\n\n",
            b"event: ping\nid: 7\nretry: 10\n\n",
            b"a line that is none of ours\n",
            b"datax: y\n",
            encode(b'{"choices":[]}'),
            encode(b'{"object":"something.else","more":[1,{"deep":null}]}'),
        ):
            events = [piece + b"\n\n" for piece in ANSWER.split(b"\n\n")[:-1]]
            self.assert_whole(extra.join([b"", *events]))

    def test_what_comes_after_the_end_is_nothing(self) -> None:
        self.assert_whole(ANSWER + chunk({"content": "more"}) + encode(b"garbage") + DONE)

    def test_of_two_finishes_the_first_counts(self) -> None:
        twice = chunk({"content": "a"}) + chunk({}, "stop") + chunk({}, "length") + DONE
        self.assertEqual(read(twice)[-1], Finished("stop", None))

    def test_data_of_several_lines(self) -> None:
        self.assertEqual(
            text_of(
                read(b'data: {"choices":\ndata: [{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n')
            ),
            "a",
        )

    def test_what_is_no_chunk(self) -> None:
        deep = b"[" * 100_000
        for payload in (
            b"garbage",
            b"[]",
            b"\xff",
            b'{"choices":[{"delta":{"content":"\xff"}}]}',
            b'{"error":"\xff"}',
            b'{"error":' + deep,
            b'{"more":' + deep,
            b'{"choices":{}}',
        ):
            self.assert_broken(encode(payload), "no completion chunk")

    def test_an_emoji_in_two_halves(self) -> None:
        openai = '{"choices":[{"delta":{"content":"%s"}}]}'
        anthropic = '{"type":"content_block_delta","delta":{"type":"text_delta","text":"%s"}}'
        for reader, wire in ((StreamReader, openai), (MessageReader, anthropic)):
            for pieces, text in (
                (("a\\ud83e", "\\udd8ab"), "a🦊b"),
                (("\\ud83e", "", "\\udd8a\\ud83e", "\\udd8a"), "🦊🦊"),
                (("a\\ud83e",), "a"),
                (("\\ud83ea", "b\\udd8a", "\\udd8a"), "\ufffdab\ufffd\ufffd"),
            ):
                events = reader("mock").feed(b"".join(encode((wire % piece).encode()) for piece in pieces))
                self.assertEqual(text_of(events), text)

    def test_an_end_before_the_finish(self) -> None:
        half = chunk({"content": "half"})
        for wire in (b"", half, half + DONE, half + b"data: [DONE]", half[:-20]):
            with self.assertRaises(UpstreamError):
                read(wire)

    def test_an_event_beyond_ten_megabytes(self) -> None:
        reader = StreamReader("mock")
        with self.assertRaises(UpstreamError) as raised:
            for _ in range(11):
                reader.feed(b"data: " + b"x" * 1_000_000)
        self.assertIn("oversized", raised.exception.message)

    def test_counts_that_nobody_can_have_counted(self) -> None:
        for told in (-1, MAX_TOKENS + 1, 10**30):
            usage = {"prompt_tokens": told, "completion_tokens": told, "total_tokens": told}
            events = read(chunk({"content": "a"}, "stop", usage=usage) + DONE)
            self.assertEqual(
                events[-1], Finished("stop", Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0))
            )

    def test_counts_that_are_written_in_another_way(self) -> None:
        table: list[tuple[object, int]] = [(12.0, 12), (12.5, 0), (1e300, 0), ("12", 0), (True, 0), ([], 0)]
        for told, counted in table:
            usage = {"prompt_tokens": told, "prompt_tokens_details": [], "completion_tokens_details": told}
            events = read(chunk({"content": "a"}, "stop", usage=usage) + DONE)
            self.assertEqual(events, [TextDelta("a"), Finished("stop", Usage(counted, 0, counted))], told)

    def test_an_error_does_not_repeat_what_is_secret(self) -> None:
        reader = StreamReader("mock")
        reader.secrets = ("Bearer hunter2hunter2",)
        with self.assertRaises(UpstreamError) as raised:
            reader.feed(encode(b'{"error":{"message":"bad key hunter2hunter2","code":400}}'))
        self.assertIn("bad key ***", raised.exception.message)

    def test_a_refusal_that_is_no_text(self) -> None:
        for body in (b'{"error":"\xff"}', b"[" * 100_000, b"\xff\xfe"):
            self.assertIn("mock", refusal("mock", 500, body).message)

    @given(st.lists(st.binary(max_size=60) | st.sampled_from(ANSWER.split(b"\n"))), CUTS)
    @settings(max_examples=200)
    def test_whatever_comes_is_an_answer_or_an_upstream_error(
        self, lines: list[bytes], cuts: list[int]
    ) -> None:
        try:
            events = read(*split(b"\n".join(lines), cuts))
        except UpstreamError:
            return
        self.assertIsInstance(events[-1], Finished)


class Depth(SynchronousTestCase):
    def test_an_error_nested_however_deep_is_an_error_of_the_providers(self) -> None:
        for reader in (StreamReader, MessageReader):
            for levels in range(850, 1050):
                payload = b'{"type": "error", "error": %b}' % nested(levels)
                with self.assertRaises(UpstreamError):
                    reader("p").feed(b"data: " + payload + b"\n\n")
