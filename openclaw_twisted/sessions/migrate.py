"""The database's schema in numbered steps: `schema/0001_*.sql`, `schema/0002_*.sql`, ...

Each step is applied once, in order, in a transaction of its own, and recorded with its time in the
table `migrations`. A step that has been released is never edited; the next change is a new file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from openclaw_twisted.errors import StorageError

__all__ = ["DamagedError", "Migration", "read", "shipped", "upgrade"]

_MIGRATIONS_TABLE = """
CREATE TABLE migrations (
    version    INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at REAL    NOT NULL
)
"""


class DamagedError(sqlite3.DatabaseError):
    """The database contradicts itself, though SQLite has not noticed."""


class Migration(NamedTuple):
    """One step: its number, its file's name and its statements."""

    version: int
    name: str
    sql: str


def shipped() -> tuple[Migration, ...]:
    """Return the steps that belong to this version of the package."""
    return read(Path(__file__).with_name("schema"))


def read(directory: Path) -> tuple[Migration, ...]:
    """Return the steps in a directory of `.sql` files, in order of their numbers."""
    return tuple(
        sorted(
            Migration(int(file.name.partition("_")[0]), file.name, file.read_text("utf-8"))
            for file in directory.glob("*.sql")
        )
    )


def upgrade(
    connection: Connection,
    migrations: Sequence[Migration],
    *,
    path: Path,
    at: float,
    tell: Callable[[int, int], object] = lambda _before, _after: None,
) -> int:
    """Apply the steps that the database has not seen and return its version.

    `at` is now, in seconds since the epoch. `tell` hears the versions before and after of a database that is
    not new, before anything is done to it. Raises `StorageError` when the database is from a newer version or
    another program's, and `DamagedError` when its record of migrations is gone.
    """
    known = migrations[-1].version
    version = _version(connection, path)
    if version > known:
        raise StorageError(
            f"{path} was written by a newer version: its schema is number {version}, this version knows "
            f"up to number {known}. Start the newer version again, or restore a backup made before it."
        )
    if 0 < version < known:
        tell(version, known)
    for migration in migrations:
        if migration.version > version:
            _apply(connection, migration, at)
    return known


def _version(connection: Connection, path: Path) -> int:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "migrations" in tables:
        (version,) = connection.execute("SELECT max(version) FROM migrations").fetchone()
        if not version:  # a step is recorded together with what it did
            raise DamagedError("the record of migrations is gone")
        return int(version)
    if tables:
        raise StorageError(
            f"{path} is another program's database. Move it away, or keep the sessions in another file."
        )
    return 0


def _apply(connection: Connection, migration: Migration, at: float) -> None:
    # As scripts, which the connection does not keep prepared: nobody needs these statements again. A script
    # commits what is open when it begins, so the transaction begins in it.
    first = f"{_MIGRATIONS_TABLE};" if migration.version == 1 else ""
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {first} {migration.sql}")
        connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (*migration[:2], at))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
