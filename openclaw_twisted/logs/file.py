"""The log file: one for each day, begun anew when it is too long, and gone after two weeks.

A disk that is full or gone must not stop the gateway, so what cannot be written is dropped and counted, and
the count is written as soon as something can be.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["LogFile", "daily"]

KEEP_DAYS = 14
SECONDS_PER_DAY = 86_400
_DAILY = "openclaw-????-??-??.log*"
# Without waiting: a pipe that nobody reads is not to hold up everything.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


def daily(folder: Path) -> Callable[[float], Path]:
    """Return what names the file of a day in `folder`, as OpenClaw names its own."""
    return lambda at: folder / f"openclaw-{datetime.fromtimestamp(at, UTC):%Y-%m-%d}.log"


class LogFile:
    """Appends lines; `name` gives the file for a time in seconds since the epoch.

    A file that reaches `max_bytes` becomes `<name>.1`, in the place of an older one; a device or a pipe never
    does, and one that cannot be renamed goes on. Files are readable by their owner alone.
    """

    def __init__(
        self,
        name: Callable[[float], Path],
        *,
        max_bytes: int,
        tidy: bool = False,
        trouble: Callable[[Path, OSError], object] = lambda _path, _error: None,
    ) -> None:
        """With `tidy` a file's folder is ours, and what `daily` has named there is deleted when it is old.

        `trouble` hears of the first line that cannot be written, each time.
        """
        self._name = name
        self._tidy = tidy
        self._trouble = trouble
        self._max_bytes = max_bytes
        self._descriptor = -1
        self._path = Path()
        self._size = 0
        self._is_file = True
        self._day = -1
        self._dropped = 0
        self._torn = False

    def write(self, line: str, at: float) -> None:
        """Append a line; never raises for what the disk does."""
        data = line.encode("utf-8", "backslashreplace")
        try:
            self._prepare(at, len(data))
            if self._dropped:
                end = "\n" if self._torn else ""
                data = f"{end}({self._dropped} lines could not be written)\n".encode() + data
            self._append(data)
        except OSError as error:
            self._dropped += 1
            if self._dropped == 1:
                self._trouble(self._path, error)
        else:
            self._dropped = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, data: bytes) -> None:
        while data:
            written = os.write(self._descriptor, data)
            self._size += written
            data = data[written:]
            self._torn = bool(data)  # a disk that is nearly full takes a part

    def _prepare(self, at: float, more_bytes: int) -> None:
        day = int(at // SECONDS_PER_DAY)
        if day != self._day:
            self.close()
        elif self._is_too_long_with(more_bytes):
            self.close()
            with suppress(OSError):  # somebody has moved it, or its folder is not ours
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open(at)
            self._size = 0  # one that could not be renamed is tried again as much later
        if self._descriptor < 0:
            self._open(at)
            self._day = day

    def _is_too_long_with(self, more_bytes: int) -> bool:
        if not self._is_file or self._descriptor < 0 or self._size + more_bytes <= self._max_bytes:
            return False
        # Somebody may have emptied it meanwhile (logrotate's copytruncate), and has a `<name>.1` as well.
        self._size = min(self._size, os.fstat(self._descriptor).st_size)
        return self._size > 0 and self._size + more_bytes > self._max_bytes

    def _open(self, at: float) -> None:
        self._path = self._name(at)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, _FLAGS, 0o600)
        found = os.fstat(self._descriptor)
        self._size, self._is_file = found.st_size, stat.S_ISREG(found.st_mode)
        if self._tidy:
            self._delete_old(at)

    def _delete_old(self, at: float) -> None:
        for old in self._path.parent.glob(_DAILY):
            with suppress(OSError):
                if at - old.stat().st_mtime > KEEP_DAYS * SECONDS_PER_DAY:
                    old.unlink()
