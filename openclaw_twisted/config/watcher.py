"""Notices that a configuration file has changed, by looking every now and then.

Looking finds changes on every file system and through every editor's way of saving, where notifications do
not. A file is read only after two looks in a row found it the same: one that is being written is left alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["LOOK_EVERY_SECONDS", "Look", "Watcher", "look_at"]

LOOK_EVERY_SECONDS = 1.0

Look = tuple[tuple[int, int, int] | None, ...]
"""Of each file: when it changed (ns), how long it is, which inode it is; None where there is none."""


class Watcher:
    """Calls `changed` when a file is another than before; `look` gives their state, without blocking.

    What either of them raises is a defect, which is logged; the next look is due all the same.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        changed: Callable[[], Awaitable[object]],
        *,
        look: Callable[[tuple[Path, ...]], Deferred[Look]],
        every_seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        self._changed = changed
        self._look = look
        self._every_seconds = every_seconds
        self._files: tuple[Path, ...] = ()
        self._known: Look | None = None
        self._latest: Look | None = None
        self._looking = LoopingCall(self._look_once)
        self._looking.clock = clock

    def watch(self, files: Iterable[Path], known: Look | None = None) -> None:
        """Watch these files from now on; `known` is what they were like before they were read.

        Without that it is what they are like at the first look.
        """
        self._files = tuple(files)
        self._known, self._latest = known, None
        if not self._looking.running:
            self._looking.start(self._every_seconds)

    def stop(self) -> None:
        """Stop looking."""
        if self._looking.running:
            self._looking.stop()

    async def _look_once(self) -> None:
        try:
            await self._compare()
        except Exception:  # noqa: BLE001 - else nobody would look again until the next start
            self._log.failure("a look at the watched files failed")

    async def _compare(self) -> None:
        files = self._files
        found = await self._look(files)
        if files is not self._files:
            return  # others are watched since
        settled, self._latest = found == self._latest, found
        if self._known is None:
            self._known = found
        elif settled and found != self._known:
            self._known = found
            await self._changed()


def look_at(files: tuple[Path, ...]) -> Look:
    """Return what the files are like now."""
    return tuple(map(_state, files))


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
