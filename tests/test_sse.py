import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.sse import DONE, Decoder, EventTooLargeError, encode

BOM = b"\xef\xbb\xbf"
WORDS = (b"data: ", b"data:", b"data", b": a comment", b"event: x", b"id", b" ", b"x", b"[DONE]", BOM)
STREAMS = st.lists(
    st.sampled_from(WORDS) | st.sampled_from((b"\n", b"\n\n", b"\r", b"\r\n")) | st.binary(max_size=3)
).map(b"".join)

STREAM = (
    b'data: {"a":1}\n\n: comment\n\ndata: one\ndata: two\n\nevent: x\nid: 7\ndata:bare\n\ndata: [DONE]\n\n'
)
EVENTS = [b'{"a":1}', b"one\ntwo", b"bare", b"[DONE]"]


def events_by_the_book(stream: bytes) -> list[bytes]:
    """Return what is in a stream that is there as a whole, and at its end what its last event has so far."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in [*re.split(b"\r\n|\n|\r", stream.removeprefix(BOM)), b""]:
        if not line and data:
            events.append(b"\n".join(data))
            data = []
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
    return events


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(edges)]


def decode(*chunks: bytes) -> list[bytes]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


class Encoding(SynchronousTestCase):
    def test_an_event_is_one_data_line_and_a_blank_one(self) -> None:
        self.assertEqual(encode(b'{"a":1}'), b'data: {"a":1}\n\n')
        self.assertEqual(DONE, encode(b"[DONE]"))

    def test_what_is_encoded_is_decoded(self) -> None:
        self.assertEqual(decode(encode(b"x") + encode(b"")), [b"x", b""])


class Decoding(SynchronousTestCase):
    def test_data_fields_alone_are_handed_out(self) -> None:
        self.assertEqual(decode(STREAM), EVENTS)

    def test_line_ends_of_all_three_kinds(self) -> None:
        for end in (b"\n", b"\r\n", b"\r"):
            # A lone CR at the end of a chunk waits for its LF, so something has to follow.
            self.assertEqual(decode(STREAM.replace(b"\n", end), b":" + end), EVENTS, end)

    def test_a_byte_order_mark_is_passed_over(self) -> None:
        self.assertEqual(decode(b"\xef", b"\xbb\xbfdata: x\n\n"), [b"x"])
        self.assertEqual(decode(b"\xef\xbb\xbfdata: x\n\n"), [b"x"])

    def test_an_event_cut_off_by_the_end_is_kept_for_finish(self) -> None:
        decoder = Decoder()
        self.assertEqual(decoder.feed(b"data: x\n\ndata: [DONE]"), [b"x"])
        self.assertEqual(decoder.finish(), b"[DONE]")
        self.assertIsNone(decoder.finish())

    def test_nothing_pending_is_none(self) -> None:
        decoder = Decoder()
        decoder.feed(b"data: x\n\n: comment")
        self.assertIsNone(decoder.finish())

    def test_an_event_over_the_limit_is_refused_whole_or_in_pieces(self) -> None:
        with self.assertRaises(EventTooLargeError):
            Decoder(max_event_bytes=10).feed(b"data: " + b"x" * 11 + b"\n\n")
        decoder = Decoder(max_event_bytes=10)
        with self.assertRaises(EventTooLargeError):
            for _ in range(12):
                decoder.feed(b"data: x\n")

    def test_many_small_events_are_no_large_one(self) -> None:
        self.assertEqual(len(Decoder(max_event_bytes=10).feed(b"data: 12345\n\n" * 100)), 100)

    @given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
    def test_any_split_of_the_bytes_gives_the_same_events(self, cuts: list[int], end: bytes) -> None:
        stream = STREAM.replace(b"\n", end) + b":" + end
        edges = [0, *sorted(cuts), len(stream)]
        chunks = [stream[start:stop] for start, stop in pairwise(edges)]
        self.assertEqual(decode(*chunks), EVENTS)

    @given(STREAMS, st.lists(st.integers(0, 1000), max_size=12))
    @settings(max_examples=300)
    def test_any_stream_at_any_split_is_read_by_the_book(self, stream: bytes, cuts: list[int]) -> None:
        decoder = Decoder()
        events = [event for chunk in split(stream, cuts) for event in decoder.feed(chunk)]
        last = decoder.finish()
        self.assertEqual(events + ([] if last is None else [last]), events_by_the_book(stream))

    def test_an_event_of_many_reads_is_put_together_once(self) -> None:
        size = 9_000_000
        decoder = Decoder()
        decoder.feed(b"data: ")
        chunk = b"x" * 1000
        for _ in range(size // len(chunk)):
            self.assertEqual(decoder.feed(chunk), [])
        self.assertIs(decoder._tail[-1], chunk)
        self.assertEqual(decoder.feed(b"\n\n"), [b"x" * size])
