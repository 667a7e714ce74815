"""A disk that is full, without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

__all__ = ["files_of_at_most"]


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Have the system cut off what this process writes, as a full disk does."""
    before = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, before)
