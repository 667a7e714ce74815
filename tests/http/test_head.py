"""Heads that come in one piece are read as those that come byte by byte, whatever is in them."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.http.head import plain_fields
from tests.http.door import DoorCase

PLAIN = b"host: localhost\r\ncontent-type: application/json"

ODD = (
    b"host : localhost",
    b": localhost",
    b"host localhost",
    b"host: localhost\r\n folded",
    b"host: localhost\r\n\tx: folded",
    b" host: localhost",
    b"host: localhost\nx: y",
    b"host: localhost\rx: y",
    b"host: local\0host",
    b"h\xf6st: localhost",
    b"",
    b"host: localhost\r\ncontent-length: +2",
    b"host: localhost\r\ncontent-length: 2, 2",
    b"host: localhost\r\ncontent-length: 2\r\ncontent-length: 2",
    b"host: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked",
    b"host: localhost\r\ntransfer-encoding: chunked",
    b"host: localhost\r\ntransfer-encoding: identity",
    b"host: localhost\r\ncontent-length:",
    b"host: localhost\r\ncontent-length: " + b"0" * 19 + b"2",
    b"host: localhost\r\ncontent-length: " + b"9" * 5000,
)
WHOLE = (
    PLAIN,
    b"HOST:localhost",
    b"host: \t localhost \t",
    b"host: localhost\r\nx:\r\nx: a\r\nX: b",
    b"host: localhost\r\nhost: localhost",
    b"host: localhost\r\ncontent-length: 2",
    b"host: localhost\r\ncontent-length: 2\r\nexpect: 100-continue",
    b"host: localhost\r\nconnection: close",
    b"host: localhost\r\ncookie: a=b; c",
    b"host: localhost\r\nx: \xff\xfe",
)


class PlainFieldsTests(SynchronousTestCase):
    def test_what_is_plain_is_read(self) -> None:
        for head in WHOLE:
            self.assertIsNotNone(plain_fields(head, 10), head)
        fields = plain_fields(b"x: a\r\nHost: \t b \r\nX:c", 10)
        assert fields is not None
        self.assertEqual(dict(fields.getAllRawHeaders()), {b"X": [b"a", b"c"], b"Host": [b"b"]})

    def test_what_is_not_is_left_to_somebody_else(self) -> None:
        for head in ODD:
            self.assertIsNone(plain_fields(head, 10), head)

    def test_there_may_be_so_many(self) -> None:
        self.assertIsNotNone(plain_fields(PLAIN, 2))
        self.assertIsNone(plain_fields(PLAIN, 1))


class OneReaderTests(DoorCase):
    """The channel, on transports in memory."""

    def answer(self, data: bytes, *, at_once: bool, channel_has: dict[str, int]) -> tuple[Any, ...]:
        channel = self.door.site.buildProtocol(None)
        vars(channel).update(channel_has)
        transport = StringTransport()
        transport.__dict__["loseWriteConnection"] = transport.loseConnection
        channel.makeConnection(transport)
        for piece in [data] if at_once else [data[at : at + 1] for at in range(len(data))]:
            channel.dataReceived(piece)
        reads = "lines" if channel.line_mode else "a body"
        channel.connectionLost(Failure(ConnectionDone()))
        said = re.sub(rb"(?i)(x-request-id|date): .*", b"", transport.value())
        return said, reads, transport.disconnecting

    def check_alike(self, data: bytes, **channel_has: int) -> bytes:
        whole = self.answer(data, at_once=True, channel_has=channel_has)
        self.assertEqual(whole, self.answer(data, at_once=False, channel_has=channel_has), data)
        said: bytes = whole[0]
        return said

    def test_every_head_is_read_alike(self) -> None:
        self.open()
        for head in (*WHOLE, *ODD):
            for method, body in ((b"GET", b""), (b"POST", b"{}"), (b"GET", b"GET /health HTTP/1.1\r\n")):
                begin = method + b" /health HTTP/1.1\r\n" + head
                said = self.check_alike(begin + b"\r\n\r\n" + body)
                self.check_alike(b"\r\n" + begin + b"\r\n\r\n" + body)
                self.check_alike(begin)
            self.assertIn(b"HTTP/1.1 ", said)

    def test_a_length_that_nobody_can_count_to_is_refused(self) -> None:
        self.open()
        head = b"GET /health HTTP/1.1\r\n" + PLAIN + b"\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n"
        self.assertIn(b"HTTP/1.1 400 ", self.check_alike(head))

    def test_many_requests_at_once(self) -> None:
        self.open()
        one = b"GET /health HTTP/1.1\r\n" + PLAIN + b"\r\n\r\n"
        said = self.check_alike(one * 3 + b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n" + one)
        codes = [b"200", b"200", b"200", b"404", b"200"]
        self.assertEqual(re.findall(rb"HTTP/1.1 ([0-9]+) ", said), codes)

    def test_the_limits_are_the_same(self) -> None:
        self.open()
        one = b"GET /health HTTP/1.1\r\n" + PLAIN + b"\r\n\r\n"
        size = len(one) - 4 * len(b"\r\n")
        for limit, code in (("maxHeaders", 2), ("totalHeadersSize", size)):
            self.assertIn(b"HTTP/1.1 200 ", self.check_alike(one, **{limit: code}))
            self.assertIn(b"HTTP/1.1 431 ", self.check_alike(one, **{limit: code - 1}))
