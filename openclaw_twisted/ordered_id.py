"""UUIDs that sort by when they were made: version 7 of RFC 9562.

A store keeps its rows in the order of their keys. Keys of a moment that are alike lie on the same few pages;
keys that are nothing but random lie on a page each, and each of these pages is written for one row.
"""

from __future__ import annotations

import os
import time
from collections import deque

__all__ = ["new_digits", "new_id"]

_VERSION_AND_VARIANT = 7 << 76 | 2 << 62
_RANDOM = (1 << 80) - 1 & ~(0xF << 76 | 3 << 62)
_RANDOM_BYTES = 10

# Each time the system is asked for random bytes, another thread may take Python's lock meanwhile, and be
# waited for. So they are fetched for so many ids at once.
_FETCHED_AT_ONCE = 64
_fetched: deque[bytes] = deque()


def new_id() -> str:
    """Return a new UUID as text: 48 bits of the time in milliseconds, 74 that nobody can guess."""
    digits = new_digits()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_digits() -> str:
    """Return the 32 digits of a new UUID alone."""
    now, random = time.time_ns(), int.from_bytes(_random_bytes(), "big")
    return f"{now // 1_000_000 << 80 | random & _RANDOM | _VERSION_AND_VARIANT:032x}"


def _random_bytes() -> bytes:
    while True:
        try:
            return _fetched.pop()  # one thread alone gets each
        except IndexError:
            many = os.urandom(_FETCHED_AT_ONCE * _RANDOM_BYTES)
            _fetched.extend(many[at : at + _RANDOM_BYTES] for at in range(0, len(many), _RANDOM_BYTES))
