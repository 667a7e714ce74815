"""Noticing that a file has changed."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.watcher import Look, Watcher, look_at


class Watching(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "openclaw.json"
        self.path.write_text("{}")
        self.clock = Clock()
        self.changes = 0
        self.busy: Deferred[None] | None = None
        self.trouble: Exception | None = None
        self.watcher = Watcher(self.clock, self.changed, look=self.look, every_seconds=1)
        self.watcher.watch([self.path])
        self.addCleanup(self.watcher.stop)

    def look(self, files: tuple[Path, ...]) -> Deferred[Look]:
        return succeed(look_at(files))

    async def changed(self) -> None:
        self.changes += 1
        if self.trouble is not None:
            raise self.trouble
        if self.busy is not None:
            await self.busy

    def looks(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(1)

    def write(self, text: str) -> None:
        self.path.write_text(text)
        state = self.path.stat()
        os.utime(self.path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))  # coarse clocks may show no change

    def test_nothing_happens(self) -> None:
        self.looks(5)
        self.assertEqual(self.changes, 0)

    def test_a_change_is_told_once_when_it_has_settled(self) -> None:
        self.write("{a: 1}")
        self.looks(1)
        self.assertEqual(self.changes, 0)
        self.looks(3)
        self.assertEqual(self.changes, 1)

    def test_a_file_that_is_being_written_is_left_alone(self) -> None:
        for length in range(5):
            self.write("x" * length)
            self.looks(1)
        self.assertEqual(self.changes, 0)
        self.looks(1)
        self.assertEqual(self.changes, 1)

    def test_a_file_that_is_put_in_its_place(self) -> None:
        other = self.folder / "new"
        other.write_text("{}")
        times = self.path.stat()
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        other.replace(self.path)
        self.looks(2)
        self.assertEqual(self.changes, 1)

    def test_a_defect_does_not_end_the_watching(self) -> None:
        self.trouble = ValueError("told")
        self.write("{a: 1}")
        self.looks(2)
        self.trouble = None
        self.write("{a: 2}")
        self.looks(2)
        self.assertEqual(self.changes, 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_file_that_goes_and_comes(self) -> None:
        self.path.unlink()
        self.looks(2)
        self.assertEqual(self.changes, 1)
        self.write("{}")
        self.looks(2)
        self.assertEqual(self.changes, 2)

    def test_other_files_from_now_on(self) -> None:
        other = self.folder / "other"
        self.watcher.watch([other])
        self.looks(1)
        self.write("{a: 1}")
        self.looks(3)
        self.assertEqual(self.changes, 0)
        other.touch()
        self.looks(2)
        self.assertEqual(self.changes, 1)

    def test_a_change_while_another_is_dealt_with_is_not_missed(self) -> None:
        self.busy = Deferred()
        self.write("{a: 1}")
        self.looks(2)
        self.write("{a: 2, b: 3}")
        self.looks(5)
        self.assertEqual(self.changes, 1)
        busy, self.busy = self.busy, None
        busy.callback(None)
        self.looks(3)
        self.assertEqual(self.changes, 2)

    def test_a_change_between_reading_and_watching_is_not_missed(self) -> None:
        known = look_at((self.path,))
        self.write("{a: 1}")
        self.watcher.watch([self.path], known)
        self.looks(3)
        self.assertEqual(self.changes, 1)
        self.watcher.watch([self.path], look_at((self.path,)))
        self.looks(3)
        self.assertEqual(self.changes, 1)

    def test_it_stops(self) -> None:
        self.watcher.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
