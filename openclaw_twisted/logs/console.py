"""Where people look: a terminal, or a pipe that something reads.

Whoever stops reading (Ctrl-S, a pager, a collector that hangs) would stop everything else, because a write
waits until there is room. So a reader is waited for briefly; one that does not go on misses lines, which are
counted, and is not waited for again until it has kept up for a while.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from select import POLLOUT, poll
from typing import TextIO

__all__ = ["PATIENCE_SECONDS", "TRUSTED_LINES", "Console"]

PATIENCE_SECONDS = 0.25
"""How long everything waits for a reader that has kept up so far."""
TRUSTED_LINES = 1000
"""After how many lines a reader that was not waited for any more is waited for again."""

_PIECE_BYTES = 4096
"""What a pipe takes at once when it says that it has room (Linux's PIPE_BUF and page)."""


class Console:
    """Shows lines on `out`; who cannot be written to misses them, and never ends or holds up anything.

    `path` is the name of the file that `out` appends to, if it is one of ours.
    """

    def __init__(self, out: TextIO, path: Path | None = None) -> None:
        self._out = out
        self._path = path
        self._descriptor = _descriptor(out)
        self._room = poll()
        if self._descriptor is not None:
            self._room.register(self._descriptor, POLLOUT)
        self._encoding = out.encoding or "utf-8"
        self._missed = 0
        self._torn = False
        self._lines_to_trust = 0

    def write(self, line: str) -> None:
        """Show a line."""
        if self._missed:
            end = "\n" if self._torn else ""
            line = f"{end}({self._missed} lines could not be shown)\n{line}"
        try:
            shown = self._show(line)
        except (OSError, ValueError):  # the terminal is gone or the disk is full
            shown = False
        if not shown:
            self._missed += 1
            self._lines_to_trust = TRUSTED_LINES
        else:
            self._missed = 0
            self._lines_to_trust = max(self._lines_to_trust - 1, 0)

    def reopen(self) -> None:
        """Go on in a new file if somebody has renamed the old one."""
        if self._path is None or self._descriptor is None:
            return
        with suppress(OSError):  # the old one is better than none
            fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.dup2(fresh, self._descriptor, inheritable=False)
            os.close(fresh)

    def _show(self, line: str) -> bool:
        """Write what there is room for; tell whether that is all."""
        if self._descriptor is None:
            self._out.write(line)
            self._out.flush()
            return True
        data = line.encode(self._encoding, "backslashreplace")
        while data:
            if not self._room.poll(0 if self._lines_to_trust else PATIENCE_SECONDS * 1000):
                return False
            data = data[os.write(self._descriptor, data[:_PIECE_BYTES]) :]
            self._torn = bool(data)
        return True


def _descriptor(out: TextIO) -> int | None:
    """Return the file behind a stream; None when it is one of Python's alone."""
    try:
        return out.fileno()
    except (OSError, ValueError):
        return None
