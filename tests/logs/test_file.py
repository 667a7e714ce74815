"""The log file on a real disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.logs.file import KEEP_DAYS, SECONDS_PER_DAY, LogFile, daily
from openclaw_twisted.testing.full_disk import files_of_at_most

NOON = 1_795_262_400.0  # 2026-11-21, 12:00 UTC


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "logs"
        self.log = LogFile(daily(self.folder), max_bytes=100, tidy=True)
        self.addCleanup(self.log.close)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def text(self, name: str = "openclaw-2026-11-21.log") -> str:
        return (self.folder / name).read_text()

    def test_lines_are_appended_and_only_the_owner_reads_them(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.log.write("one\n", NOON)
        self.log.close()
        self.log.write("two\n", NOON)
        self.assertEqual(self.text(), "one\ntwo\n")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (self.folder, *self.folder.iterdir())]
        self.assertEqual(modes, [0o700, 0o600])

    def test_each_day_has_its_own(self) -> None:
        self.log.write("one\n", NOON)
        self.log.write("two\n", NOON + SECONDS_PER_DAY)
        self.assertEqual(self.names(), ["openclaw-2026-11-21.log", "openclaw-2026-11-22.log"])

    def test_a_long_one_is_begun_anew(self) -> None:
        for number in range(5):
            self.log.write(f"{number}" * 60 + "\n", NOON)
        self.assertEqual(self.names(), ["openclaw-2026-11-21.log", "openclaw-2026-11-21.log.1"])
        self.assertTrue(self.text().startswith("4"))
        self.assertTrue(self.text("openclaw-2026-11-21.log.1").startswith("3"))

    def test_old_ones_go_and_strangers_stay(self) -> None:
        self.folder.mkdir(parents=True)
        strangers = ["notes.txt", "openclaw-gateway.log-20260101.gz"]
        for name in ("openclaw-2026-01-01.log", "openclaw-2026-01-01.log.1", *strangers):
            (self.folder / name).touch()
            os.utime(self.folder / name, (0, NOON - (KEEP_DAYS + 1) * SECONDS_PER_DAY))
        self.log.write("one\n", NOON)
        self.assertEqual(self.names(), ["notes.txt", "openclaw-2026-11-21.log", strangers[1]])

    def test_a_folder_that_is_not_ours_is_left_alone(self) -> None:
        old = self.folder / "openclaw-2026-01-01.log"
        self.folder.mkdir(parents=True)
        old.touch()
        os.utime(old, (0, NOON - (KEEP_DAYS + 1) * SECONDS_PER_DAY))
        log = LogFile(lambda _at: self.folder / "gateway.log", max_bytes=100)
        self.addCleanup(log.close)
        log.write("one\n", NOON)
        self.assertTrue(old.exists())

    def test_a_long_one_that_somebody_has_removed(self) -> None:
        self.log.write("0" * 60 + "\n", NOON)
        (self.folder / "openclaw-2026-11-21.log").unlink()
        for number in range(1, 4):
            self.log.write(f"{number}" * 60 + "\n", NOON)
        self.assertEqual(self.names(), ["openclaw-2026-11-21.log", "openclaw-2026-11-21.log.1"])
        self.assertTrue(self.text().startswith("3"))
        self.assertTrue(self.text("openclaw-2026-11-21.log.1").startswith("2"))

    def test_a_long_one_that_cannot_be_renamed_goes_on(self) -> None:
        (self.folder / "openclaw-2026-11-21.log.1" / "in the way").mkdir(parents=True)
        for number in range(4):
            self.log.write(f"{number}" * 60 + "\n", NOON)
        self.assertEqual([line[0] for line in self.text().splitlines()], ["0", "1", "2", "3"])

    def test_what_cannot_be_written_is_counted(self) -> None:
        self.folder.parent.mkdir(exist_ok=True)
        self.folder.write_text("a file in the way")
        self.log.write("one\n", NOON)
        self.log.write("two\n", NOON)
        self.folder.unlink()
        self.log.write("three\n", NOON)
        self.assertEqual(self.text(), "(2 lines could not be written)\nthree\n")

    def test_a_line_that_is_cut_off_by_a_full_disk_ends_and_counts(self) -> None:
        self.log.write("whole\n", NOON)
        with files_of_at_most(10):
            self.log.write("cut off\n", NOON)
            self.log.write("dropped\n", NOON)
        self.log.write("again\n", NOON)
        self.log.write("and again\n", NOON)
        self.assertEqual(self.text(), "whole\ncut \n(2 lines could not be written)\nagain\nand again\n")

    def test_one_that_is_emptied_now_and_then_is_not_too_long(self) -> None:
        path = self.folder / "openclaw-2026-11-21.log"
        for number in range(4):
            self.log.write(f"{number}" * 60 + "\n", NOON)
            path.with_name(path.name + ".1").write_bytes(path.read_bytes())  # logrotate's copytruncate
            os.truncate(path, 0)
        self.log.write("4" * 60 + "\n", NOON)
        self.assertEqual((self.text()[0], self.text(path.name + ".1")[0]), ("4", "3"))

    def test_a_pipe_that_nobody_reads_holds_nothing_up(self) -> None:
        path = Path(self.mktemp())
        os.mkfifo(path)
        log = LogFile(lambda _at: path, max_bytes=10)
        self.addCleanup(log.close)
        log.write("one\n", NOON)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        for line in ("two\n", "three\n", "four\n"):
            log.write(line, NOON)
        self.assertEqual(os.read(reader, 100), b"(1 lines could not be written)\ntwo\nthree\nfour\n")
        self.assertFalse(path.with_name(path.name + ".1").exists())

    def test_text_that_is_no_unicode(self) -> None:
        self.log.write("\ud800\n", NOON)
        self.assertEqual(self.text(), "\\ud800\n")
