"""Text that was written by others, on the way to the user's terminal."""

from __future__ import annotations

import os
import re
import sys

import click

__all__ = ["open_streams", "printable", "say"]

# All control characters but tab and line feed: they could move the cursor, or answer in the user's name.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def open_streams() -> None:
    """Open standard input, output and error where the process was started without: nothing is read or kept.

    Sockets and files would get their numbers otherwise, and what is meant for a stream would go there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - it stays open


def printable(text: str) -> str:
    """Return the text without the characters that command a terminal."""
    return _CONTROL.sub("", text)


def say(text: str) -> None:
    """Print text on stdout: as it is into a file or pipe, printable on a terminal."""
    if sys.stdout.isatty():
        text = printable(text)
    encoding = sys.stdout.encoding
    click.echo(text.encode(encoding, "replace").decode(encoding), color=True)
