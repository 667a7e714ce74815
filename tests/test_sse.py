from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.sse import DONE, Decoder, EventTooLargeError, encode

STREAM = (
    b'data: {"a":1}\n\n: comment\n\ndata: one\ndata: two\n\nevent: x\nid: 7\ndata:bare\n\ndata: [DONE]\n\n'
)
EVENTS = [b'{"a":1}', b"one\ntwo", b"bare", b"[DONE]"]


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

    @given(st.lists(st.binary(max_size=40), max_size=20))
    def test_no_bytes_make_it_fail(self, chunks: list[bytes]) -> None:
        decode(*chunks)
