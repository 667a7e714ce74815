from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.lines import MAX_LINE_BYTES, MAX_WAITING_LINES, PASTE_SECONDS, Lines

__all__ = ["LinesTests"]


class Descriptor:
    """Standard input and output that are one string, and a switch."""

    def __init__(self) -> None:
        self.written = b""
        self.reads = True

    def write(self, data: bytes) -> None:
        self.written += data

    def pauseProducing(self) -> None:
        self.reads = False

    def resumeProducing(self) -> None:
        self.reads = True

    def loseConnection(self) -> None:
        self.reads = False


class LinesTests(SynchronousTestCase):
    def open(self, *, interactive: bool = False) -> Lines:
        self.clock = Clock()
        self.io = Descriptor()
        lines = Lines(self.clock, interactive=interactive)
        transport: Any = self.io
        lines.makeConnection(transport)
        return lines

    def next(self, lines: Lines) -> Any:
        return Deferred.fromCoroutine(lines.next())

    def test_lines_in_whatever_pieces(self) -> None:
        lines = self.open()
        first = self.next(lines)
        lines.dataReceived(b"on\xc3")
        self.assertNoResult(first)
        lines.dataReceived(b"\xa9\r\ntwo\nthree")
        lines.readConnectionLost()
        self.assertEqual("oné", self.successResultOf(first))
        rest = [self.successResultOf(self.next(lines)) for _ in range(3)]
        self.assertEqual(["two", "three", None], rest)

    def test_what_is_pasted_is_one_message_and_commands_are_none(self) -> None:
        lines = self.open(interactive=True)
        first = self.next(lines)
        lines.dataReceived(b"one\n")
        lines.dataReceived(b"two\n/new\nthree\n")
        self.assertNoResult(first)
        self.clock.advance(PASTE_SECONDS)
        self.assertEqual("one\ntwo", self.successResultOf(first))
        self.assertEqual("/new", self.successResultOf(self.next(lines)))

    def test_urgent_lines_are_not_taken_twice(self) -> None:
        lines = self.open(interactive=True)
        lines.urgent = "/stop".__eq__
        lines.dataReceived(b"/stop\n/other\n")
        self.assertEqual("/other", self.successResultOf(self.next(lines)))

    def test_an_error_comes_before_what_waits(self) -> None:
        lines = self.open()
        lines.dataReceived(b"one\n")
        lines.fail(CommandError("gone"))
        self.failureResultOf(self.next(lines), CommandError)

    def test_a_line_without_end(self) -> None:
        lines = self.open()
        lines.dataReceived(b"x" * (MAX_LINE_BYTES + 1))
        self.failureResultOf(self.next(lines), CommandError)

    def test_nobody_reads(self) -> None:
        lines = self.open()
        lines.writeConnectionLost()
        self.failureResultOf(self.next(lines), CommandError)
        self.successResultOf(Deferred.fromCoroutine(lines.close()))

    def test_a_long_file_waits_outside(self) -> None:
        lines = self.open()
        lines.dataReceived(b"x\n" * (MAX_WAITING_LINES + 1))
        self.assertFalse(self.io.reads)
        for _ in range(MAX_WAITING_LINES + 1):
            self.successResultOf(self.next(lines))
        self.assertNoResult(self.next(lines))
        self.assertTrue(self.io.reads)
