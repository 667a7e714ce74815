from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.content import Usage
from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.migrate import Migration, read, shipped, upgrade
from openclaw_twisted.sessions.sqlite import SqliteStore
from tests.sessions.examples import turn
from tests.sessions.open_files import OPEN_FILES, open_files, size_of
from tests.sessions.threaded_clock import ThreadedClock

PATH = Path("/state/gateway.sqlite3")

FIRST = Migration(1, "0001_people.sql", "CREATE TABLE people (name TEXT);\n")
SECOND = Migration(
    2,
    "0002_ages.sql",
    """
    -- A trigger's body has semicolons; of its own.
    ALTER TABLE people ADD COLUMN age INTEGER NOT NULL DEFAULT 18;
    CREATE TRIGGER birthday AFTER UPDATE ON people BEGIN
        SELECT 1;
        SELECT 2;
    END;
    UPDATE people SET age = 44;
    """,
)
BROKEN = Migration(3, "0003_broken.sql", "DELETE FROM people;\nCREATE TABLE people (name TEXT);\n")


class UpgradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)

    def upgrade(self, *migrations: Migration, at: float = 1.0) -> int:
        return upgrade(self.connection, migrations, path=PATH, at=at)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.connection.execute(query).fetchall()

    def test_a_new_database_gets_every_step(self):
        self.assertEqual(self.upgrade(FIRST, SECOND, at=7.5), 2)
        self.assertEqual(
            self.rows("SELECT * FROM migrations"), [(1, "0001_people.sql", 7.5), (2, "0002_ages.sql", 7.5)]
        )

    def test_an_older_database_gets_the_steps_it_lacks_and_keeps_its_rows(self):
        self.upgrade(FIRST, at=1.0)
        self.connection.execute("INSERT INTO people VALUES ('Ada')")
        self.assertEqual(self.upgrade(FIRST, SECOND, at=2.0), 2)
        self.assertEqual(self.rows("SELECT name, age FROM people"), [("Ada", 44)])
        self.assertEqual(self.rows("SELECT version, applied_at FROM migrations"), [(1, 1.0), (2, 2.0)])

    def test_it_is_told_before_an_older_database_is_changed(self):
        told: list[tuple[object, ...]] = []

        def tell(before: int, after: int) -> None:
            told.append((before, after, *self.rows("SELECT max(version) FROM migrations")[0]))

        for steps in ((FIRST,), (FIRST, SECOND), (FIRST, SECOND)):
            upgrade(self.connection, steps, path=PATH, at=1.0, tell=tell)
        self.assertEqual(told, [(1, 2, 1)])

    def test_a_database_that_is_up_to_date_is_left_alone(self):
        self.upgrade(FIRST, SECOND)
        changes = self.connection.total_changes
        self.assertEqual(self.upgrade(FIRST, SECOND, at=9.0), 2)
        self.assertEqual(self.connection.total_changes, changes)

    def test_a_step_that_fails_leaves_nothing_behind(self):
        self.upgrade(FIRST)
        self.connection.execute("INSERT INTO people VALUES ('Ada')")
        with self.assertRaises(sqlite3.OperationalError):
            self.upgrade(FIRST, SECOND, BROKEN)
        self.assertFalse(self.connection.in_transaction)
        self.assertEqual(self.rows("SELECT name, age FROM people"), [("Ada", 44)])
        self.assertEqual(self.rows("SELECT max(version) FROM migrations"), [(2,)])

    def test_a_newer_database_is_refused_with_both_versions(self):
        self.upgrade(FIRST, SECOND)
        with self.assertRaises(StorageError) as caught:
            self.upgrade(FIRST)
        self.assertIn(f"{PATH} was written by a newer version", caught.exception.message)
        self.assertIn("its schema is number 2, this version knows up to number 1", caught.exception.message)

    def test_another_programs_database_is_refused(self):
        self.connection.execute("CREATE TABLE bookmarks (url TEXT)")
        with self.assertRaises(StorageError) as caught:
            self.upgrade(FIRST)
        self.assertIn("another program's", caught.exception.message)
        self.assertEqual(self.rows("SELECT name FROM sqlite_master"), [("bookmarks",)])


OLD_SESSIONS = """
INSERT INTO sessions VALUES ('agent:main:main', 'main', 0, 10.0, 20.0, 2);
INSERT INTO sessions VALUES ('agent:main:openai:1', 'main', 1, 11.0, 12.0, 0);
INSERT INTO messages VALUES
    ('agent:main:main', 1, 'run-1', 10.0, 0, '{"role":"user","content":"hello"}'),
    ('agent:main:main', 2, 'run-1', 20.0, 0, '{"role":"assistant","content":"hi"}');
INSERT INTO runs VALUES
    ('run-1', 'agent:main:main', 'main', 'p/m', 'finished', 10.0, 20.0, 'stop', NULL,
     '{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}'),
    ('run-2', 'agent:main:openai:1', 'main', 'p/m', 'running', 11.0, NULL, NULL, NULL, NULL);
"""


class OldFileTests(SynchronousTestCase):
    """A file that the first schema's gateway has written."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite3"
        self.path.parent.mkdir()
        self.reactor = ThreadedClock()
        connection = sqlite3.connect(self.path, isolation_level=None)
        upgrade(connection, shipped()[:1], path=self.path, at=5.0)
        connection.executescript(OLD_SESSIONS)
        connection.close()
        self.store = SqliteStore(self.reactor, self.path, now=lambda: 99.0)
        with capturedLogs() as self.logged:
            self.do(self.store.open())
        self.addCleanup(lambda: self.do(self.store.close()))

    def do(self, work: Coroutine[Deferred[Any], Any, Any]) -> Any:
        return self.reactor.result_of(work)

    def test_everything_in_it_is_there_after_the_upgrade(self):
        named, once = self.do(self.store.sessions()).rows
        self.assertEqual((named.session_key, named.created_at, named.updated_at), ("agent:main:main", 10, 20))
        self.assertEqual((named.started_at, named.message_count, named.last_seq), (10.0, 2, 2))
        self.assertEqual((once.session_key, once.message_count), ("agent:main:openai:1", 0))
        ids = {uuid.UUID(row.session_id).version for row in (named, once)}
        self.assertEqual(ids, {4})
        self.assertNotEqual(named.session_id, once.session_id)
        history = self.do(self.store.history("agent:main:main"))
        self.assertEqual([stored.message.content for stored in history], ["hello", "hi"])
        self.assertEqual(self.do(self.store.run("run-1")).usage, Usage(3, 4, 7))
        self.assertEqual(self.do(self.store.run("run-2")).status, "interrupted")

    def test_the_log_says_so_before(self):
        begins, opened = self.logged
        self.assertEqual((begins["before"], begins["after"]), (1, opened["version"]))

    def test_it_goes_on(self):
        self.do(self.store.commit(turn("run-3", "agent:main:main", "more", "yes")))
        self.assertEqual([m.seq for m in self.do(self.store.history("agent:main:main"))], [1, 2, 3, 4])
        self.do(self.store.reset("agent:main:main", 200.0))
        self.assertEqual(self.do(self.store.history("agent:main:main")), ())

    def test_the_gateway_before_refuses_it_afterwards(self):
        self.do(self.store.close())
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            with self.assertRaises(StorageError) as caught:
                upgrade(connection, shipped()[:1], path=self.path, at=9.0)
            self.assertIn("newer version", caught.exception.message)


class LargeFileTests(SynchronousTestCase):
    def test_an_upgrade_does_not_remember_what_it_overwrites(self):
        """SQLite would: in a file of this size if it may have one, and in memory as the gateway has it."""
        path = Path(self.mktemp()).absolute()
        connection = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(connection.close)
        for pragma in ("journal_mode = WAL", "secure_delete = ON", "temp_store = FILE"):
            connection.execute(f"PRAGMA {pragma}")
        upgrade(connection, shipped()[:1], path=path, at=5.0)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO messages VALUES ('s', ?, 'r', 1, 0, ?)", [(n, "x" * 20_000) for n in range(100)]
        )
        connection.execute("COMMIT")
        sizes = [0]
        connection.set_progress_handler(lambda: sizes.append(sum(map(size_of, open_files("etilqs")))), 10)
        upgrade(connection, shipped(), path=path, at=6.0)
        self.assertEqual(connection.execute("SELECT count(*) FROM messages").fetchone(), (100,))
        self.assertLess(max(sizes), 100_000)

    test_an_upgrade_does_not_remember_what_it_overwrites.skip = (  # type: ignore[attr-defined]
        None if OPEN_FILES.exists() else "needs /proc/self/fd"
    )


class FilesTests(SynchronousTestCase):
    def test_the_shipped_steps_are_numbered_without_gaps(self):
        self.assertEqual([step.version for step in shipped()], list(range(1, len(shipped()) + 1)))

    def test_files_are_read_in_the_order_of_their_numbers(self):
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("0010_ten.sql", "0002_two.sql", "README.md"):
            (directory / name).write_text(f"-- {name}")
        self.assertEqual(
            read(directory),
            (
                Migration(2, "0002_two.sql", "-- 0002_two.sql"),
                Migration(10, "0010_ten.sql", "-- 0010_ten.sql"),
            ),
        )
