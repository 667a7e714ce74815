"""What the tests of the configuration share: a way to ask for settings and for problems."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import Loaded, parse
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.errors import ConfigError

__all__ = ["DATA", "STRONG", "ParseCase", "written"]

DATA = Path(__file__).parent / "data"
STRONG = "6f1d0c9b8a79685746352413f2e1d0cf"


def written(path: str, value: str) -> str:
    """Return a configuration with one value in it, as JSON5 text."""
    for key in reversed(path.split(".")):
        value = f"{{{key}: {value}}}"
    return value


class ParseCase(SynchronousTestCase):
    def loaded(self, text, environ=None, **named) -> Loaded:
        return parse(text, environ or {}, **named)

    def settings(self, text, environ=None, **named) -> Settings:
        return self.loaded(text, environ, **named).settings

    def problems(self, text, environ=None, **named) -> dict[str, str]:
        error = self.assertRaises(ConfigError, parse, text, environ or {}, **named)
        found = {problem.path: problem.message for problem in error.problems}
        self.assertEqual(len(found), len(error.problems), "two problems at one place")
        return found

    def problem(self, text, path, words, environ=None, **named) -> None:
        found = self.problems(text, environ, **named)
        self.assertEqual([*found], [path])
        self.assertIn(words, found[path])

    def warnings(self, text, environ=None) -> dict[str, str]:
        return {warning.path: warning.message for warning in self.loaded(text, environ).warnings}
