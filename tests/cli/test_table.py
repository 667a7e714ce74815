from __future__ import annotations

import contextlib
import io

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.table import ago, facts, moment, shortened, table

__all__ = ["TableTests"]


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)

    def said(self) -> str:
        self.out.seek(0)
        return self.out.read()

    def test_columns_are_aligned_whatever_the_width_of_letters(self) -> None:
        with contextlib.redirect_stdout(self.out):
            table(("A", "B"), [("日本", "x"), ("abc", "y"), ("e\u0301", "z")])
        self.assertEqual("A     B\n日本  x\nabc   y\ne\u0301     z\n", self.said())

    def test_a_cell_is_one_line_that_commands_no_terminal(self) -> None:
        with contextlib.redirect_stdout(self.out):
            table(("A",), [("a\n b\tc\x1b[2Jd",)])
        self.assertEqual("A\na b c[2Jd\n", self.said())

    def test_a_row_ends_with_its_last_word(self) -> None:
        with contextlib.redirect_stdout(self.out):
            table(("A", "B"), [("a", "")])
        self.assertEqual("A  B\na\n", self.said())

    def test_facts_that_there_are(self) -> None:
        with contextlib.redirect_stdout(self.out):
            facts([("name", "x"), ("a", "1"), ("nothing", "")])
        self.assertEqual("name  x\na     1\n", self.said())

    def test_long_texts_are_shortened(self) -> None:
        self.assertEqual("short text", shortened("short\ntext"))
        self.assertEqual("x" * 59 + "…", shortened("x" * 61))
        self.assertEqual("日" * 29 + "…", shortened("日" * 40))

    def test_times(self) -> None:
        said = [ago(1000 * seconds) for seconds in (-5, 59, 60, 3599, 7200, 200_000)]
        self.assertEqual(["just now", "just now", "1 min ago", "59 min ago", "2 h ago", "2 d ago"], said)
        self.assertEqual("2023-11-14 22:13:20 UTC", moment(1_700_000_000_500))
