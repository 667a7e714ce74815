"""Which files this process has open, those that have no name any more included."""

from __future__ import annotations

from pathlib import Path

__all__ = ["OPEN_FILES", "open_files", "size_of"]

OPEN_FILES = Path("/proc/self/fd")


def open_files(name: str) -> list[Path]:
    """Return those with this in their name; SQLite's temporary ones have `etilqs`."""
    return [file for file in OPEN_FILES.iterdir() if file.is_symlink() and name in str(file.readlink())]


def size_of(file: Path) -> int:
    """Return how large an open file is, in bytes."""
    return file.stat().st_size
