"""The lines of a `.env` file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.dotenv import variables

__all__ = ["DotenvTests"]


class DotenvTests(SynchronousTestCase):
    """`variables` reads what people write into such files."""

    def test_the_ways_to_set_a_variable(self) -> None:
        for line, value in (
            ("A=1", "1"),
            ("export A=1", "1"),
            ("  A = 1  ", "1"),
            ("A=", ""),
            ("A=a b", "a b"),
            ("A=a#b", "a#b"),
            ("A=a # note", "a"),
            ("A='a # b'", "a # b"),
            ("A='a\\nb'", "a\\nb"),
            ('A="a # b" # note', "a # b"),
            ('A="a\\nb\\"c"', 'a\nb"c'),
            ('A="pa\\ss\\d\\\\"', "pa\\ss\\d\\\\"),
            ("A=x=y", "x=y"),
            ("\ufeffA=1", "1"),
        ):
            self.assertEqual(variables(line), {"A": value}, line)

    def test_other_lines_set_nothing(self) -> None:
        self.assertEqual(variables("# A=1\n\nA\n1A=2\n=x\nA B=1"), {})

    def test_the_last_one_counts(self) -> None:
        self.assertEqual(variables("A=1\r\nB=2\nA=3\n"), {"A": "3", "B": "2"})
