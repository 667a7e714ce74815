from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.database import Database, set_aside, storage_error
from tests.sessions.open_files import OPEN_FILES, open_files

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
LARGE_SORT = """
WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000)
SELECT look(n) FROM (SELECT n, randomblob(1000) AS row FROM numbers ORDER BY row)
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


class DatabaseCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite3"

    def opened(self) -> tuple[Database, Connection]:
        database = Database(self.path, lambda: NOW)
        connection = database.open()
        self.addCleanup(database.close, connection)
        return database, connection

    def refusal(self) -> str:
        with self.assertRaises(StorageError) as caught:
            self.opened()
        return str(caught.exception.message)

    def side_file(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def fill(self) -> None:
        database = Database(self.path, lambda: NOW)
        connection = database.open()
        connection.executemany(
            "INSERT INTO messages VALUES ('s', ?, 'r', 1, 0, ?)", [(n, "x" * 3000) for n in range(50)]
        )
        database.close(connection)


class OpenTests(DatabaseCase):
    def test_what_is_written_is_durable(self):
        _, connection = self.opened()
        self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))

    def test_everything_it_creates_is_the_owners_alone(self):
        self.addCleanup(os.umask, os.umask(0))
        self.path = self.path.parent / "state" / self.path.name
        _, connection = self.opened()
        connection.execute("UPDATE sessions SET updated_at = 1")
        self.assertEqual([mode(self.path.parent), mode(self.path.parent.parent)], [0o700, 0o700])
        created = {file.name: mode(file) for file in self.path.parent.iterdir()}
        self.assertEqual(
            created,
            dict.fromkeys((self.path.name + suffix for suffix in ("", "-wal", "-shm", ".lock")), 0o600),
        )

    def test_files_that_others_may_read_are_taken_away_from_them(self):
        self.path.parent.mkdir(mode=0o750)
        self.path.touch(0o644)
        self.path.chmod(0o644)
        self.opened()
        self.assertEqual([mode(self.path.parent), mode(self.path)], [0o750, 0o600])

    def test_the_reader_cannot_write(self):
        database, _ = self.opened()
        reader = database.open_read_only()
        self.addCleanup(reader.close)
        with self.assertRaises(sqlite3.OperationalError):
            reader.execute("DELETE FROM runs")

    def test_nothing_is_written_elsewhere(self):
        database, writer = self.opened()
        reader = database.open_read_only()
        self.addCleanup(reader.close)
        for connection in (writer, reader):
            found: list[int] = []
            connection.create_function(
                "look", 1, lambda _, found=found: found.append(len(open_files("etilqs")))
            )
            connection.execute(LARGE_SORT).fetchall()
            self.assertEqual(set(found), {0})

    test_nothing_is_written_elsewhere.skip = (  # type: ignore[attr-defined]
        None if OPEN_FILES.exists() else "needs /proc/self/fd"
    )

    def test_a_path_may_hold_any_character(self):
        self.path = self.path.parent / "what?a#path%20 'é'" / "a?b.db"
        database, _ = self.opened()
        reader = database.open_read_only()
        self.addCleanup(reader.close)
        self.assertEqual(reader.execute("SELECT count(*) FROM runs").fetchone(), (0,))

    def test_a_second_process_is_refused(self):
        self.opened()
        message = self.refusal()
        self.assertIn(f"{self.path} is in use by another gateway (process {os.getpid()})", message)
        self.assertIn("Stop that one, or give this one a state directory of its own", message)

    def test_closing_lets_go_of_the_file_and_empties_the_wal(self):
        database = Database(self.path, lambda: NOW)
        database.close(database.open())
        self.assertFalse(self.side_file("-wal").exists())
        self.opened()

    def test_a_refusal_lets_go_of_the_file(self):
        _, connection = self.opened()
        connection.execute("INSERT INTO migrations VALUES (999, '0999_future.sql', 1.0)")
        self.doCleanups()
        self.assertIn("its schema is number 999, this version knows up to number", self.refusal())
        self.assertIn("number 999", self.refusal())

    def test_a_database_that_is_sound_but_odd_is_refused_and_left_where_it_is(self):
        _, connection = self.opened()
        connection.execute("DROP TABLE runs")
        self.doCleanups()
        with self.assertRaises(sqlite3.OperationalError):
            self.opened()
        self.assertEqual(list(self.path.parent.glob("*.corrupt-*")), [])

    def test_a_place_that_cannot_be_used_is_an_operating_system_error(self):
        self.path.parent.mkdir()
        self.path.mkdir()
        with self.assertRaises(IsADirectoryError):
            self.opened()
        self.path = self.path.parent / "file" / "gateway.sqlite3"
        self.path.parent.touch()
        with self.assertRaises(OSError):
            self.opened()


class DamageTests(DatabaseCase):
    def aside(self, *suffixes: str) -> list[Path]:
        return [self.side_file(f".corrupt-20260921T141320Z{suffix}") for suffix in suffixes]

    def assert_replaced(self, aside: Path) -> None:
        database, connection = self.opened()
        self.assertEqual(database.set_aside, aside)
        self.assertEqual(connection.execute("SELECT count(*) FROM messages").fetchone(), (0,))
        self.assertEqual(mode(self.path), 0o600)

    def test_a_sound_database_stays(self):
        self.fill()
        database, connection = self.opened()
        self.assertIsNone(database.set_aside)
        self.assertEqual(connection.execute("SELECT count(*) FROM messages").fetchone(), (50,))

    def test_a_file_that_is_no_database_is_set_aside(self):
        self.path.parent.mkdir()
        self.path.write_bytes(b"not a database" * 1000)
        (aside,) = self.aside("")
        self.assert_replaced(aside)
        self.assertEqual(aside.read_bytes(), b"not a database" * 1000)

    def test_a_file_that_was_cut_short_is_set_aside(self):
        self.fill()
        os.truncate(self.path, self.path.stat().st_size // 2)
        self.assert_replaced(*self.aside(""))

    def test_a_damaged_schema_is_set_aside(self):
        self.fill()
        with self.path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 3000)
        self.assert_replaced(*self.aside(""))

    def test_a_schema_that_is_not_text_any_more_is_set_aside(self):
        self.fill()
        content = self.path.read_bytes()
        self.path.write_bytes(content.replace(b"CREATE TABLE runs", b"CREATE \x88\xc0\xff\xff\xff runs"))
        self.assert_replaced(*self.aside(""))

    def test_a_database_that_lost_its_record_of_migrations_is_set_aside(self):
        self.fill()
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("DELETE FROM migrations")
        self.assert_replaced(*self.aside(""))

    def test_a_wal_that_could_not_be_emptied_goes_with_its_database(self):
        self.path.parent.mkdir()
        self.path.write_bytes(b"not a database" * 1000)
        self.side_file("-wal").write_bytes(b"wal")
        aside, wal = self.aside("", "-wal")
        self.assertEqual(set_aside(self.path, NOW), aside)
        self.assertEqual(wal.read_bytes(), b"wal")
        self.assertEqual({file.name for file in self.path.parent.iterdir()}, {aside.name, wal.name})

    def test_nothing_that_was_set_aside_is_overwritten(self):
        self.path.parent.mkdir()
        names = self.aside("", ".1", ".2")
        for number, name in enumerate(names):
            self.path.write_bytes(b"%d is not a database" % number * 100)
            self.assert_replaced(name)
            self.doCleanups()
        self.assertEqual([name.read_bytes()[:1] for name in names], [b"0", b"1", b"2"])


class AnyDamageTests(DatabaseCase):
    """Whatever happened to the file, the gateway starts: with it, or with a fresh one beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.sound = self.path.read_bytes()

    def survives(self, content: bytes) -> bool:
        """Start with this content; return whether the file was set aside."""
        self.path.write_bytes(content)
        database = Database(self.path, lambda: NOW)
        connection = database.open()
        connection.execute("SELECT count(*) FROM runs").fetchone()
        database.close(connection)
        if database.set_aside is None:
            return False
        self.assertEqual(database.set_aside.read_bytes(), content)
        database.set_aside.unlink()
        return True

    def test_cut_short_anywhere(self) -> None:
        page = 4096
        cuts = [*range(0, len(self.sound), page), *range(1, len(self.sound), 20 * page + 7)]
        outcomes = {cut: self.survives(self.sound[:cut]) for cut in cuts}
        # With no more than a byte there is nothing to lose, and SQLite begins anew.
        self.assertEqual([cut for cut, aside in outcomes.items() if not aside], [0, 1])

    def test_a_tail_of_zeros(self) -> None:
        self.assertFalse(self.survives(self.sound + bytes(10_000)))

    def test_bits_turned_anywhere(self) -> None:
        chance = random.Random(7)  # noqa: S311 - damage, not secrets
        for _ in range(40):
            damaged = bytearray(self.sound)
            for _ in range(chance.choice((1, 1, 8, 64))):
                # Half of them in the first page, where the header and the schema are.
                at = chance.randrange(4096 if chance.random() < 0.5 else len(damaged))
                damaged[at] ^= 1 << chance.randrange(8)
            self.survives(bytes(damaged))


class StorageErrorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.connection = self.connect()
        self.connection.execute("CREATE TABLE t (value)")

    def connect(self) -> Connection:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        self.addCleanup(connection.close)
        return connection

    def insert(self, value: object = "x" * 10_000) -> object:
        return self.connection.execute("INSERT INTO t VALUES (?)", (value,))

    def check(self, call: Callable[[], object], *words: str) -> None:
        with self.assertRaises(Exception) as caught:
            call()
        message = storage_error(Path("/state/it"), caught.exception).message
        for word in ("/state/it", *words):
            self.assertIn(word, message)

    def test_disk_full(self):
        self.connection.execute("PRAGMA max_page_count = 3")
        self.check(self.insert, "is full. Make space on it")

    def test_read_only(self):
        self.connection.execute("PRAGMA query_only = ON")
        self.check(self.insert, "cannot be written (SQLITE_READONLY). Check its owner")

    def test_locked(self):
        self.connect().execute("BEGIN IMMEDIATE")
        self.check(self.insert, "Another program has locked", "Close it")

    def test_damaged(self):
        def read(content: bytes) -> Sequence[object]:
            self.path.write_bytes(content)
            return self.connect().execute("SELECT * FROM t").fetchall()

        content = self.path.read_bytes()
        self.check(lambda: read(b"nonsense" * 1000), "is damaged. Stop the gateway and restore a backup")
        self.check(lambda: read(content[:4096]), "is damaged. Stop the gateway and restore a backup")

    def test_cannot_be_opened(self):
        self.check(lambda: sqlite3.connect("/"), "cannot be opened (SQLITE_CANTOPEN)")

    def test_too_large(self):
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        self.check(self.insert, "too large", "Make it smaller")

    def test_not_unicode(self):
        self.check(lambda: self.insert("\ud800"), "cannot keep this", "surrogates not allowed")

    def test_anything_else_that_sqlite_says(self):
        self.check(lambda: self.connection.execute("no SQL"), "SQLite refused (SQLITE_ERROR)")

    def test_what_the_operating_system_says(self):
        for file in ("/state/it", "/state/it.lock"):
            self.check(Path(file).stat, f"{file} cannot be used: No such file or directory. Check its owner")
