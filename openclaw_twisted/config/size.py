"""Sizes as people write them: `500mb`, `10gb`, `1.5 TB`; each unit is 1024 of the one below."""

from __future__ import annotations

import re

__all__ = ["size_bytes"]

_UNIT_BYTES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d{1,16}(?:\.\d{1,9})?)\s*(b|[kmgt]?(?:i?b)?)")


def size_bytes(written: str | float) -> int:
    """Return how many bytes are meant; raises ValueError, which says how to write it."""
    found = _SIZE.fullmatch(str(written).strip().lower())
    if found is None:
        raise ValueError('is not a size; write it like "500mb" or "10gb"')
    return int(float(found[1]) * _UNIT_BYTES[found[2][:1]])
