from __future__ import annotations

import io
import os
import pty
import sys
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.terminal import printable, say

__all__ = ["TerminalTests"]

HOSTILE = "fine\tüber 👨‍👩‍👧\n\x1b]0;title\x07\x9b2Jred\r\x7f"
TAMED = "fine\tüber 👨‍👩‍👧\n]0;title2Jred"


class TerminalTests(SynchronousTestCase):
    def test_what_commands_a_terminal_is_taken_out(self) -> None:
        self.assertEqual(TAMED, printable(HOSTILE))

    def test_a_file_gets_the_text_as_it_is(self) -> None:
        raw = io.BytesIO()
        with redirect_stdout(io.TextIOWrapper(raw, encoding="utf-8", newline="")):
            say(HOSTILE)
            sys.stdout.flush()
            self.assertEqual(HOSTILE + "\n", raw.getvalue().decode())

    def test_a_terminal_does_not(self) -> None:
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        with open(theirs, "w", encoding="utf-8") as terminal, redirect_stdout(terminal):  # noqa: PTH123 - a descriptor
            say(HOSTILE)
        self.assertEqual(TAMED.split("\n"), os.read(ours, 1000).decode().rstrip().split("\r\n"))

    def test_what_an_encoding_lacks_becomes_a_question_mark(self) -> None:
        raw = io.BytesIO()
        with redirect_stdout(io.TextIOWrapper(raw, encoding="ascii")):
            say("5 €")
            sys.stdout.flush()
            self.assertEqual(b"5 ?\n", raw.getvalue())
