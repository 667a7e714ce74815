from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from tests.benchmarks.programs import program


class MockUpstream(TestCase):
    def setUp(self):
        self.mock = program("mock_upstream")
        self.clock = Clock()
        self.transport = StringTransport()
        self.upstream = self.mock.Upstream(self.clock, set())
        self.upstream.makeConnection(self.transport)

    def ask(self, model: str, **more: Any) -> None:
        body = msgspec.json.encode({"model": model, "messages": [], **more})
        self.upstream.dataReceived(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def answer(self) -> bytes:
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer

    def words(self, whole: bytes) -> str:
        head, _, body = whole.partition(b"\r\n\r\n")
        self.assertIn(b"content-length: %d" % len(body), head)
        return str(msgspec.json.decode(body)["choices"][0]["message"]["content"])

    def test_a_stream_for_whoever_asks_for_one(self):
        self.ask("together-7", stream=True)
        answer = self.answer()
        self.assertEqual(answer.count(b'"content":" word"'), 7)
        self.assertTrue(answer.endswith(b"0\r\n\r\n"))

    def test_the_same_words_in_one_piece_for_everybody_else(self):
        for stream in ({}, {"stream": False}, {"stream": None}):
            self.ask("together-7", **stream)
            self.assertEqual(self.words(self.answer()), " word" * 7)
            self.ask("plain", **stream)
            self.assertEqual(self.words(self.answer()), " word word")

    def test_a_whole_answer_takes_as_long_as_its_stream(self):
        self.ask("alone-3")
        self.clock.advance(2 * self.mock.GAP_SECONDS)
        self.assertEqual(self.answer(), b"")
        self.clock.advance(self.mock.GAP_SECONDS)
        self.assertEqual(self.words(self.answer()), " word" * 3)

    def test_a_stream_that_comes_word_by_word(self):
        self.ask("alone-2", stream=True)
        self.assertEqual(self.answer().count(b"data: "), 1)
        for _ in range(2):
            self.clock.advance(self.mock.GAP_SECONDS)
            self.assertEqual(self.answer(), self.mock.WORD)
        self.clock.advance(self.mock.GAP_SECONDS)
        self.assertEqual(self.answer(), self.mock.TAIL)

    def test_requests_in_chunks_and_in_pieces(self):
        request = (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'8\r\n{"model"\r\n12\r\n:"together-4","x":\r\n2\r\n1}\r\n0\r\n\r\n'
        )
        for byte in request * 2:
            self.upstream.dataReceived(bytes([byte]))
        first, second = self.answer().split(b"HTTP/1.1 200 OK")[1:]
        self.assertEqual(self.words(first), " word" * 4)
        self.assertEqual(first, second)

    def test_what_is_no_chat_completion(self):
        self.upstream.dataReceived(b"GET /v1/models HTTP/1.1\r\n\r\n")
        self.assertIn(b"404", self.answer())
        self.upstream.dataReceived(b"\0\0")
        self.assertTrue(self.transport.disconnecting)
