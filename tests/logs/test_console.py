"""What people see, and what becomes of everything else when they do not look."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import TextIO

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.logs.console import TRUSTED_LINES, Console
from openclaw_twisted.testing.full_disk import files_of_at_most

LINE = "x" * 999 + "\n"


class Consoles(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.out: TextIO = os.fdopen(writer, "w", encoding="ascii")
        self.addCleanup(self.out.close)
        self.console = Console(self.out)

    def hang_up(self) -> None:
        os.close(self.reader)

    def read(self) -> str:
        """Read what there is."""
        data = b""
        try:
            while piece := os.read(self.reader, 2**20):
                data += piece
        except BlockingIOError:
            pass
        return data.decode()

    def fill(self) -> int:
        """Write lines until there is no room; return how many."""
        for count in range(10_000):
            self.console.write(LINE)
            if self.console._missed:
                return count
        raise AssertionError("a pipe without an end")

    def test_lines_are_shown(self) -> None:
        self.addCleanup(self.hang_up)
        self.console.write("hellö\n")
        self.console.write(LINE * 20)
        self.assertEqual(self.read(), "hell\\xf6\n" + LINE * 20)

    def test_a_reader_who_stops_misses_lines_and_hears_how_many(self) -> None:
        self.addCleanup(self.hang_up)
        shown = self.fill()
        for _ in range(5000):  # with a quarter of a second for each this would take twenty minutes
            self.console.write(LINE)
        self.assertEqual(self.read(), LINE * shown)
        self.console.write("again\n")
        self.console.write("and again\n")
        self.assertEqual(self.read(), "(5001 lines could not be shown)\nagain\nand again\n")

    def test_a_reader_who_keeps_up_is_waited_for_again(self) -> None:
        self.addCleanup(self.hang_up)
        self.fill()
        self.read()
        for _ in range(TRUSTED_LINES):
            self.assertTrue(self.console._lines_to_trust)
            self.console.write("x\n")
        self.assertEqual(self.console._lines_to_trust, 0)

    def test_a_reader_who_is_gone(self) -> None:
        self.hang_up()
        self.console.write(LINE)
        self.assertEqual(self.console._missed, 1)

    def test_a_stream_of_pythons_own(self) -> None:
        self.addCleanup(self.hang_up)
        out = StringIO()
        Console(out).write("hellö\n")
        self.assertEqual(out.getvalue(), "hellö\n")
        out.close()
        Console(out).write("gone\n")

    def test_a_file_that_was_renamed_is_left_to_whoever_did_it(self) -> None:
        self.addCleanup(self.hang_up)
        path = Path(self.mktemp())
        with path.open("a") as out:
            console = Console(out, path)
            console.write("before\n")
            renamed = path.rename(path.with_suffix(".1"))
            console.write("between\n")
            console.reopen()
            console.write("after\n")
        self.assertEqual((renamed.read_text(), path.read_text()), ("before\nbetween\n", "after\n"))

    def test_a_place_that_is_gone_keeps_the_old_file(self) -> None:
        self.addCleanup(self.hang_up)
        path = Path(self.mktemp()) / "deep.log"
        path.parent.mkdir()
        with path.open("a") as out:
            console = Console(out, path)
            moved = path.parent.rename(path.parent.with_name("elsewhere"))
            console.reopen()
            console.write("still here\n")
        self.assertEqual((moved / path.name).read_text(), "still here\n")

    def test_a_disk_that_was_full_gets_what_comes_afterwards(self) -> None:
        self.addCleanup(self.hang_up)
        path = Path(self.mktemp())
        with Path("/dev/full").open("w") as full, path.open("w") as there:
            console = Console(full)
            console.write("lost\n")
            os.dup2(there.fileno(), full.fileno())
            console.write("kept\n")
        self.assertEqual(path.read_text(), "(1 lines could not be shown)\nkept\n")

    def test_a_line_that_is_cut_off_by_a_full_disk_ends(self) -> None:
        self.addCleanup(self.hang_up)
        path = Path(self.mktemp())
        with path.open("a") as out:
            console = Console(out, path)
            with files_of_at_most(4):
                console.write("cut off\n")
                console.write("lost\n")
            console.write("kept\n")
        self.assertEqual(path.read_text(), "cut \n(2 lines could not be shown)\nkept\n")

    test_a_disk_that_was_full_gets_what_comes_afterwards.skip = (  # type: ignore[attr-defined]
        None if Path("/dev/full").exists() else "needs /dev/full"
    )
