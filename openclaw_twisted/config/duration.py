"""Durations as people write them: `24h`, `1h30m`, `30d`, `500ms`."""

from __future__ import annotations

import re

__all__ = ["seconds"]

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_MAX_LENGTH = 40
_BARE = re.compile(r"\d+(?:\.\d+)?")


def seconds(written: str | float, bare_unit: str | None) -> float:
    """Return how many seconds are meant; `bare_unit` is the unit of a number without one.

    Without a `bare_unit` only 0 may stand alone. Raises ValueError, which says how to write it.
    """
    text = str(written).strip().lower()
    if len(text) > _MAX_LENGTH:
        raise ValueError("is longer than any duration")
    if _BARE.fullmatch(text):
        if bare_unit is None and float(text) != 0:
            raise ValueError(f'needs a unit, like "{text}h" or "{text}d"')
        return float(text) * _UNIT_SECONDS[bare_unit or "s"]
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise ValueError('is not a duration; write it like "90m", "24h" or "30d"')
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
