"""How many connections the open files allow: clients must not take what the gateway itself needs."""

from __future__ import annotations

__all__ = ["OWN_FILES", "most_connections"]

OWN_FILES = 64
"""The database's files, logs, listening sockets, look-ups of names, the local model: with room to spare."""


def most_connections(files: int, runs: int | None) -> int:
    """Return how many client connections leave enough of `files` for `runs` that ask a provider each.

    Never less than half of them, as whoever allows very few wants to be reached at all; exactly half when the
    runs have no limit, as each may be a client's.
    """
    return files // 2 if runs is None else max(files - OWN_FILES - runs, files // 2)
