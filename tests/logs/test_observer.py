"""Where events go, as the settings say."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import LoggingSettings
from openclaw_twisted.logs.console import Console
from openclaw_twisted.logs.observer import MAX_EARLIER_SECRETS, Journal


class Journals(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.console = StringIO()

    def journal(self, **settings: Any) -> Logger:
        self.subject = Journal(
            LoggingSettings(**settings),
            folder=self.folder,
            console=Console(self.console),
            secrets=["hush-hush"],
        )
        self.addCleanup(self.subject.close)
        return Logger(namespace="openclaw_twisted.test", observer=self.subject)

    def filed(self) -> list[str]:
        return [
            json.loads(line)["message"]
            for path in self.folder.glob("*")
            for line in path.read_text().splitlines()
        ]

    def test_both_places(self) -> None:
        self.journal().info("hello {name}", name="you")
        self.assertEqual(self.filed(), ["hello you"])
        self.assertTrue(self.console.getvalue().endswith("info  [test] hello you\n"))

    def test_each_place_has_its_level(self) -> None:
        log = self.journal(level="warn", console_level="error")
        for level in LogLevel.iterconstants():
            log.emit(level, level.name)
        self.assertEqual(self.filed(), ["warn", "error", "critical"])
        self.assertEqual(len(self.console.getvalue().splitlines()), 2)

    def test_silence(self) -> None:
        self.journal(level="silent").critical("hello")
        self.assertEqual((self.console.getvalue(), self.folder.exists()), ("", False))

    def test_styles(self) -> None:
        self.journal(console_style="json").info("hello")
        self.assertEqual(json.loads(self.console.getvalue())["message"], "hello")

    def test_a_file_of_ones_own(self) -> None:
        path = self.folder / "deep" / "my.log"
        self.journal(file=str(path)).info("hello")
        self.assertIn("hello", path.read_text())

    def test_a_file_that_cannot_be_written_is_told_once(self) -> None:
        self.folder.mkdir()
        log = self.journal(file=str(self.folder))
        log.info("hello")
        log.info("again")
        said = self.console.getvalue()
        self.assertEqual(said.count(f"The log file {self.folder} cannot be written: Is a directory.\n"), 1)
        self.assertIn("again", said)

    def test_text_that_is_no_unicode(self) -> None:
        self.journal(console_style="json").info("in {path}", path="/caf\udce9")
        self.assertEqual(self.filed(), ["in /caf\\udce9"])
        self.assertIn('"path":"/caf\\\\udce9"', self.console.getvalue())

    def test_secrets_appear_nowhere(self) -> None:
        log = self.journal()
        log.info("with hush-hush", key="hush-hush")
        try:
            int("hush-hush")
        except ValueError:
            log.failure("it failed")
        everything = self.console.getvalue() + "".join(path.read_text() for path in self.folder.glob("*"))
        self.assertNotIn("hush-hush", everything)
        self.assertEqual(everything.count("with base 10: '***'"), 2)

    def test_secrets_that_json_writes_in_its_own_way(self) -> None:
        log = self.journal(console_style="json")
        self.subject.reconfigure(
            replace(LoggingSettings(), console_style="json"),
            secrets=['pass"word\\1', "first line\nlast line"],
        )
        log.info("{secret} and {lines}", secret='pass"word\\1', lines="first line\nlast line")
        self.assertEqual(self.filed(), ["*** and ***\\x0a***"])
        self.assertNotIn("word", self.console.getvalue())

    def test_a_terminal_that_is_gone(self) -> None:
        log = self.journal()
        self.console.close()
        log.info("hello")
        self.assertEqual(self.filed(), ["hello"])

    def test_other_settings_from_now_on(self) -> None:
        log = self.journal()
        self.subject.reconfigure(replace(LoggingSettings(), level="error"), secrets=["another-secret"])
        log.info("hello")
        log.error("another-secret and hush-hush")
        self.assertEqual(self.filed(), ["*** and ***"])

    def test_secrets_that_were_replaced_appear_nowhere(self) -> None:
        log = self.journal()
        for number in range(1000, 1000 + 2 * MAX_EARLIER_SECRETS):
            self.subject.reconfigure(LoggingSettings(), secrets=[f"secret-{number}"])
        newest = 999 + 2 * MAX_EARLIER_SECRETS
        last, gone = newest - MAX_EARLIER_SECRETS, newest - MAX_EARLIER_SECRETS - 1
        log.info("secret-{last} secret-{gone}", last=last, gone=gone)
        self.assertEqual(self.filed(), [f"*** secret-{gone}"])
        self.subject.reconfigure(LoggingSettings(), secrets=[])
        log.info("secret-{newest}", newest=newest)
        self.assertEqual(self.filed()[-1], "***")
