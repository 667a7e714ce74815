from __future__ import annotations

import sqlite3
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Retention
from openclaw_twisted.sessions import removal, rows, session_rows
from openclaw_twisted.sessions.migrate import shipped
from openclaw_twisted.sessions.removal import Progress
from openclaw_twisted.sessions.turns import ClaimLimits
from tests.sessions.examples import SESSION, turn

TABLES = ("messages", "archives", "runs", "sessions")


class StepsTests(SynchronousTestCase):
    """Steps that have no time at all still come to an end, and to the same one."""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        for migration in shipped():
            self.connection.executescript(migration.sql)
        self.number = 0

    def add(self, *texts: str, session: str = SESSION) -> None:
        self.number += 1
        rows.record(self.connection, turn(f"run-{self.number}", session, *texts), ClaimLimits())

    def rows_in(self, table: str) -> int:
        (count,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        return int(count)

    def texts(self, session: str = SESSION) -> list[object]:
        messages, _ = rows.history(self.connection, session, 100)
        return [stored.message.content for stored in messages]

    def all_of(self, step: Callable[[], Progress]) -> list[int]:
        """Take a step until nothing is left to do; return what each deleted."""
        deleted: list[int] = []
        while True:
            progress = step()
            deleted.append(progress.deleted)
            if not progress.more:
                return deleted

    def delete(self) -> Progress:
        return removal.delete(self.connection, SESSION, seconds=0.0)

    def test_a_session_goes_in_steps_of_a_message(self) -> None:
        self.add("a", "b", "c")
        session_rows.compact(self.connection, SESSION, 1, 5.0)
        self.add("d", "e")
        self.assertEqual(self.all_of(self.delete), [0, 0, 0, 0, 0, 1])
        self.assertEqual([self.rows_in(table) for table in TABLES], [0, 0, 0, 0])
        self.assertEqual(self.all_of(self.delete), [0])

    def test_a_session_goes_at_once_when_there_is_time(self) -> None:
        self.add("a", "b", "c")
        self.assertEqual(removal.delete(self.connection, SESSION), Progress(1, more=False))
        self.assertEqual([self.rows_in(table) for table in TABLES], [0, 0, 0, 0])

    def test_many_runs_go_in_steps(self) -> None:
        for number in range(1001):
            rows.record(self.connection, turn(f"r{number}", SESSION), ClaimLimits())
        self.connection.execute("DELETE FROM messages")
        self.assertEqual(self.all_of(self.delete), [0, 0, 1])
        self.assertEqual(self.rows_in("runs"), 0)

    def test_who_comes_back_meanwhile_begins_anew(self) -> None:
        self.add("a", "b", "c")
        before = session_rows.find(self.connection, SESSION)
        self.delete()
        emptied = session_rows.find(self.connection, SESSION)
        assert before is not None
        assert emptied is not None
        self.assertEqual((emptied.message_count, emptied.title, emptied.last_seq), (0, None, 3))
        self.assertNotEqual(emptied.session_id, before.session_id)
        self.add("d", "e")
        self.assertEqual(self.texts(), ["d", "e"])
        self.assertEqual(self.rows_in("messages"), 4)

        prune = self.all_of(lambda: removal.prune_archives(self.connection, 0.0, 10, seconds=0.0))
        self.assertEqual(sum(prune), 1)
        self.assertEqual(self.texts(), ["d", "e"])
        self.assertEqual([self.rows_in(table) for table in TABLES], [2, 0, 2, 1])

    def test_pruning_in_steps(self) -> None:
        sessions = [f"agent:main:openai:{number}" for number in range(3)]
        sessions += [f"agent:main:{number}" for number in range(3)]
        for session in sessions:
            self.add("a", "b", session=session)
        retention = Retention(unused_before=1000.0, keep=frozenset({"agent:main:1"}))
        stateless = self.all_of(lambda: removal.prune_stateless(self.connection, 1000.0, 2, seconds=0.0))
        unused = self.all_of(lambda: removal.prune_unused(self.connection, retention, 2, seconds=0.0))
        self.assertEqual((sum(stateless), sum(unused)), (3, 2))
        self.assertGreater(len(unused), 3)
        self.assertEqual(self.texts("agent:main:1"), ["a", "b"])
        self.assertEqual([self.rows_in(table) for table in TABLES], [2, 0, 1, 1])
