"""What cannot be read is shown with its line, column and a caret, and never with a secret."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.syntax import MAX_DEPTH, decode
from openclaw_twisted.errors import ConfigError

__all__ = ["SyntaxTests"]


class SyntaxTests(SynchronousTestCase):
    """`decode` reads JSON and JSON5 and refuses what a configuration cannot mean."""

    def refused(self, text: str) -> tuple[str, str]:
        error = self.assertRaises(ConfigError, decode, text, "x.json5")
        self.assertEqual(error.source, "x.json5")
        (problem,) = error.problems
        return problem.path, problem.message

    def test_json_and_json5_mean_the_same(self) -> None:
        self.assertEqual(decode('{"a": [1, 2.5, "x", true, null]}', "x"), {"a": [1, 2.5, "x", True, None]})
        text = "// first\n{a: [0x10, .5, 'it\\'s', +1,], /* and */ 'b': \"x\\\ny\",}"
        self.assertEqual(decode(text, "x"), {"a": [16, 0.5, "it's", 1], "b": "xy"})

    def test_a_byte_order_mark_is_no_matter(self) -> None:
        self.assertEqual(decode("\ufeff{}", "x"), {})

    def test_an_error_has_a_line_a_column_and_a_caret(self) -> None:
        path, message = self.refused("{\n  port: 1\n  bind: 'lan',\n}")
        self.assertEqual(path, "line 3, column 3")
        said, line, caret = message.split("\n")
        self.assertEqual(said, 'unexpected "b"; is a comma missing before it?')
        self.assertEqual(line.strip(), "bind: '***',")
        self.assertEqual(line[caret.index("^")], "b")

    def test_the_shown_line_gives_no_secret_away(self) -> None:
        for text in (
            "{token: 'sk-secret-value' 'x'}",
            '{"token": "sk-secret-value}',
            "{token: sk-secret-value}",
            "{token: 'sk-secret-value, port: 1}",
            "{token: 'it\\'s sk-secret-value' x}",
        ):
            _, message = self.refused(text)
            self.assertIn("token", message)
            self.assertNotIn("secret", message)

    def test_the_end_of_the_text_can_be_pointed_at(self) -> None:
        path, message = self.refused("{\n  a: 1")
        self.assertEqual(path, "line 2, column 7")
        self.assertIn("unexpected end of input", message)

    def test_an_empty_file_says_what_to_write(self) -> None:
        for text in ("", " \n\t"):
            self.assertIn("write {}", self.refused(text)[1])

    def test_a_key_stands_once(self) -> None:
        for text in ('{"a": {"b": 1, "b": 2}}', "{a: {b: 1, b: 2}}"):
            self.assertEqual(self.refused(text), ("a.b", "is given twice; keep one of the two"))

    def test_numbers_are_finite(self) -> None:
        for number in ("NaN", "Infinity", "-Infinity", "1e999"):
            self.assertEqual(self.refused(f'{{"a": [{number}]}}'), ("a[0]", "is not a finite number"))

    def test_text_is_text(self) -> None:
        self.assertEqual(self.refused('{"a": "\\ud800"}')[0], "a")
        self.assertEqual(decode('{"a": "\\ud83d\\ude00"}', "x"), {"a": "😀"})

    def test_depth_is_limited(self) -> None:
        decode("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x")
        self.assertIn("levels deep", self.refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))[1])
        self.assertIn("levels deep", self.refused("[" * 100_000)[1])

    def test_a_number_of_many_digits_is_refused(self) -> None:
        self.refused('{"a": %s}' % ("1" * 5000))
