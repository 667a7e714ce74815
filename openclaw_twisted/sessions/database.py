"""The file behind the SQLite store: private, used by one process, set aside when it is damaged.

Everything here blocks and runs on the store's threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection

from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.migrate import DamagedError, shipped, upgrade
from openclaw_twisted.sessions.rows import interrupt_runs

__all__ = ["BUSY_TIMEOUT_SECONDS", "Database", "set_aside", "storage_error"]

BUSY_TIMEOUT_SECONDS = 5.0
"""How long a write waits for another program (a `sqlite3` shell, a backup) that has locked the file."""

_WAL_BYTES_KEPT = 64 * 1024 * 1024
_SIDE_FILES = ("-wal", "-shm")
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# Else what is sorted, and what an upgrade may have to undo, goes into files in /tmp: conversations beside the
# state directory, and in a container whose only writable folder is that one there is no place for them.
_IN_MEMORY = "PRAGMA temp_store = MEMORY"
# fullfsync: macOS fsync() stops at the drive's cache. secure_delete: what is pruned is overwritten.
_WRITER_PRAGMAS = (
    _IN_MEMORY,
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA secure_delete = ON",
    f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}",
)


_ADVICE = {
    sqlite3.SQLITE_FULL: (
        "The disk that holds {path} is full. Make space on it; the gateway then goes on by itself."
    ),
    sqlite3.SQLITE_IOERR: (
        "The disk that holds {path} fails or is full ({name}). Check it; the gateway goes on once it works."
    ),
    sqlite3.SQLITE_READONLY: (
        "{path} cannot be written ({name}). Check its owner, its permissions and how the disk is mounted."
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "{path} cannot be opened ({name}). Check that it is a file, its owner and its permissions."
    ),
    sqlite3.SQLITE_BUSY: (
        "Another program has locked {path}. Close it (a sqlite3 shell, a backup) and try again."
    ),
    sqlite3.SQLITE_CORRUPT: (
        "{path} is damaged. Stop the gateway and restore a backup, or move the file away to start afresh."
    ),
    sqlite3.SQLITE_TOOBIG: "A message is too large to be kept in {path}. Make it smaller.",
}
_ADVICE[sqlite3.SQLITE_LOCKED] = _ADVICE[sqlite3.SQLITE_BUSY]
_ADVICE[sqlite3.SQLITE_NOTADB] = _ADVICE[sqlite3.SQLITE_CORRUPT]
_ADVICE[sqlite3.SQLITE_PERM] = _ADVICE[sqlite3.SQLITE_READONLY]


class Database:
    """A database file for one writer and one reader; `now` tells seconds since the epoch.

    `tell` hears, in the thread that opens it, of an upgrade that begins: the versions before and after.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], float],
        tell: Callable[[int, int], object] = lambda _before, _after: None,
    ) -> None:
        self.path = path
        self.version = 0
        self.interrupted = 0
        self.set_aside: Path | None = None
        self._now = now
        self._tell = tell
        self._lock: int | None = None

    def open(self) -> Connection:
        """Lock the file, create it or bring it up to date, and return the writer's connection.

        Afterwards `version` is the schema's, `interrupted` how many runs the last stop cut off, and
        `set_aside` where a damaged file was moved to make place for a new one.
        """
        _make_directory(self.path.parent)
        self._lock = _lock(self.path)
        try:
            return self._open_or_replace()
        except BaseException:
            self._unlock()
            raise

    def open_read_only(self) -> Connection:
        """Return a reader's connection to the file, which a writer has open."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
        )
        connection.execute(_IN_MEMORY)
        return connection

    def close(self, connection: Connection) -> None:
        """Close the writer's connection, which as the last one empties the WAL, and let go of the file."""
        try:
            connection.close()
        finally:
            self._unlock()

    def _open_or_replace(self) -> Connection:
        try:
            return self._prepared()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
        self.set_aside = set_aside(self.path, self._now())
        return self._prepared()

    def _prepared(self) -> Connection:
        _make_private(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            for pragma in _WRITER_PRAGMAS:
                connection.execute(pragma)
            self.version = upgrade(connection, shipped(), path=self.path, at=self._now(), tell=self._tell)
            self.interrupted = interrupt_runs(connection, self._now())
        except BaseException:
            connection.close()
            raise
        return connection

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def storage_error(path: Path, error: Exception) -> StorageError:
    """Say what went wrong with the store's file, and what to do next."""
    if isinstance(error, OSError):
        file = error.filename or path  # which may be one beside it: the lock that another user has made
        return StorageError(
            f"{file} cannot be used: {error.strerror}. Check its owner, its permissions and its disk."
        )
    if not isinstance(error, sqlite3.Error):
        return StorageError(f"{path} cannot keep this: {error}.")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    advice = _ADVICE.get(_primary_code(error), "SQLite refused ({name}) to work on {path}.")
    return StorageError(advice.format(path=path, name=name))


def set_aside(path: Path, at: float) -> Path:
    """Rename a damaged file and its side files, and return its new name."""
    stamp = f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
    names = (_beside(path, f".corrupt-{stamp}{more}") for more in ("", *(f".{n}" for n in range(1, 1000))))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    for suffix in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(aside, suffix))
    _sync_directory(path.parent)
    return aside


def _is_damage(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return isinstance(error, DamagedError) or _primary_code(error) in _DAMAGED
    return True  # SQLite's complaint about a damaged schema quotes it, and Python could not decode the quote


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte is the error, the rest tells its kind (https://www.sqlite.org/rescode.html).
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _make_directory(directory: Path) -> None:
    """Create what is missing of a directory for its owner's eyes only, and make that last."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(0o700)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private(path: Path) -> None:
    """Create the file if need be, for its owner alone; side files that SQLite creates get the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for file in (path, *(_beside(path, suffix) for suffix in _SIDE_FILES)):
        if file.exists() and file.stat().st_mode & 0o077:
            file.chmod(0o600)


def _lock(path: Path) -> int:
    """Claim the file for this process until the returned descriptor is closed."""
    descriptor = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise
        raise StorageError(
            f"{path} is in use by another gateway (process {owner}). Stop that one, or give this one "
            "a state directory of its own."
        ) from None
    with contextlib.suppress(OSError):  # a full disk: the lock holds without the number, too
        os.pwrite(descriptor, f"{os.getpid():<10}\n".encode(), 0)
    return descriptor


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
