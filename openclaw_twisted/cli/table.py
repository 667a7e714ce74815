"""Plain text for people: aligned columns, and times as they are said."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate

import click

from openclaw_twisted.cli.terminal import printable, say

__all__ = ["ago", "facts", "moment", "shortened", "table"]

MAX_CELL_COLUMNS = 60

_GAP = "  "
_CUT = "…"
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their headings, bold on a terminal; every row has a cell for each heading."""
    cells = [[_one_line(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    click.secho(lines[0], bold=True)
    for line in lines[1:]:
        say(line)


def facts(known: Sequence[tuple[str, str]]) -> None:
    """Print names and what they stand for; nothing for those that stand for nothing."""
    told = [(name, _one_line(value)) for name, value in known if value]
    widths = [max(_columns(name) for name, _ in told)]
    for name, value in told:
        say(_line((name, value), widths))


def shortened(text: str) -> str:
    """Return a text in one line that is no wider than a cell should be."""
    text = _one_line(text)
    if _columns(text) <= MAX_CELL_COLUMNS:
        return text
    room = MAX_CELL_COLUMNS - len(_CUT)
    ends = accumulate(map(_width, text))
    return "".join(letter for letter, end in zip(text, ends, strict=True) if end <= room) + _CUT


def ago(milliseconds: float) -> str:
    """Return how long ago something was."""
    seconds = milliseconds / 1000
    for length, unit in _STEPS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"


def moment(at_ms: float) -> str:
    """Return a time, given in ms since the epoch, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _columns(cell)) for cell, width in zip(cells[:-1], widths, strict=False)]
    return _GAP.join((*padded, cells[-1])).rstrip()


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes up."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
