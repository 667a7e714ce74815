"""What a benchmark of a gateway says: rows, as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["TITLES", "Row"]


class Row(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the table; CPU per request is in milliseconds, per chunk in microseconds.

    `times_answer` and `times_relay` say how many times the yardsticks' figure this one is: of CPU per chunk
    where there are chunks, else of CPU per request, else of memory.
    """

    name: str
    requests: int | None = None
    errors: int | None = None
    per_second: float | None = None
    cpu_ms: float | None = None
    cpu_us_per_chunk: float | None = None
    chunks_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_p50_ms: float | None = None
    kib_each: float | None = None
    times_answer: float | None = None
    times_relay: float | None = None

    def cost(self) -> float:
        """Return the figure that says most about what it costs."""
        figures = (self.cpu_us_per_chunk, self.cpu_ms, self.kib_each, self.p50_ms)
        return next((figure for figure in figures if figure is not None), 0.0)

    def measure(self, answer: Row | None, relay: Row | None) -> None:
        """Say how many times the yardsticks' figures this one is."""
        self.times_answer = self._times(answer)
        self.times_relay = self._times(relay)

    def _times(self, other: Row | None) -> float | None:
        known = any(figure is not None for figure in (self.cpu_us_per_chunk, self.cpu_ms, self.kib_each))
        return self.cost() / other.cost() if known and other is not None and other.cost() else None

    def line(self, who: str) -> str:
        """Return the row for people."""
        values = msgspec.structs.astuple(self)
        return _line(f"{self.name} {who}", map(_cell, values[1:]))


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _line(first: str, cells: Iterable[str]) -> str:
    return f"{first:>20}" + "".join(f"{cell:>12}" for cell in cells)


TITLES = _line(
    "",
    (
        "requests",
        "errors",
        "per s",
        "CPU ms",
        "us/chunk",
        "chunks/s",
        "p50 ms",
        "p99 ms",
        "first ms",
        "KiB each",
        "x answer",
        "x relay",
    ),
)
