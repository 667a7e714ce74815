from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.sessions import rows
from openclaw_twisted.sessions.migrate import shipped

LISTING = "SCAN sessions USING INDEX sessions_by_update"


class StatementTests(SynchronousTestCase):
    def test_no_statement_reads_a_whole_table(self):
        connection = sqlite3.connect(":memory:")
        self.addCleanup(connection.close)
        for migration in shipped():
            connection.executescript(migration.sql)
        statements = [
            value for value in vars(rows).values() if isinstance(value, str) and "?" in value
        ] + list(rows._DELETE_SESSION)
        self.assertGreater(len(statements), 10)
        for statement in statements:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * statement.count("?"))
            for *_, step in plan:
                self.assertTrue(
                    step == LISTING or not step.startswith(("SCAN", "USE TEMP")), (statement, step)
                )
