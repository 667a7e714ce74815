from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import SessionQuery, TurnRecord
from openclaw_twisted.content import Message, TextPart, ToolCall
from openclaw_twisted.sessions import removal, rows, session_rows
from openclaw_twisted.sessions.migrate import shipped
from openclaw_twisted.sessions.turns import ClaimLimits
from tests.sessions.examples import SESSION, run

WALKS = (
    "SCAN runs USING INDEX runs_by_start",
    "SCAN claims USING COVERING INDEX claims_by_time",  # bounded by how many claims are kept
)
SESSIONS = 200
LISTING_STEPS = 25_000


class StatementTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)
        for migration in shipped():
            self.connection.executescript(migration.sql)

    def test_messages_are_not_their_own_index(self):
        # In an index whole rows are compared: beside messages of megabytes each new one took 20 ms.
        for table in ("messages", "messages INDEXED BY sqlite_autoindex_messages_1"):
            self.connection.execute(f"SELECT rowid FROM {table} WHERE session_key = '' AND seq = 1")  # noqa: S608

    def test_roles_are_told_without_reading_what_was_said(self):
        said = [
            Message(role="system", content="s", name="n"),
            Message(role="user", content=(TextPart("q"),)),
            Message(role="assistant", tool_calls=(ToolCall("c", "look", "{}"),)),
            Message(role="tool", tool_call_id="c"),
            *(Message(role="assistant", content=text) for text in "abcd"),
        ]
        rows.record(self.connection, TurnRecord(run=run(), messages=tuple(said)), ClaimLimits())
        for seq, body in ((4, '{"role":"tool"...'), (5, "{"), (6, b"\xff"), (7, '{"role":"nobody"}')):
            self.connection.execute("UPDATE messages SET body = ? WHERE seq = ?", (body, seq))
        self.assertEqual(
            [*rows.roles(self.connection, SESSION, after_seq=1)],
            [(8, "assistant"), (4, "tool"), (3, "assistant"), (2, "user")],
        )

    def test_no_statement_reads_a_whole_table(self):
        statements = [
            statement
            for module in (removal, rows, session_rows)
            for value in vars(module).values()
            for statement in (value if isinstance(value, tuple) else (value,))
            if isinstance(statement, str) and "?" in statement
        ]
        self.assertGreater(len(statements), 30)
        for statement in statements:
            values = [1] * (4 if "?4" in statement else statement.count("?"))
            plan = self.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            for *_, step in plan:
                self.assertTrue(
                    step in WALKS or not step.startswith(("SCAN", "USE TEMP B-TREE FOR ORDER BY")),
                    (statement, step),
                )

    def test_a_listing_does_not_sort(self):
        seen: list[str] = []
        for _ in range(SESSIONS):
            self.connection.execute(
                "INSERT INTO sessions (session_key, agent_id, stateless, created_at, updated_at, last_seq,"
                " session_id) VALUES (hex(randomblob(8)), 'main', 0, 0, random(), 0, hex(randomblob(8)))"
            )
        self.connection.set_trace_callback(seen.append)
        page = session_rows.list_sessions(self.connection, SessionQuery(limit=3, stateless=False))
        self.connection.set_trace_callback(None)
        self.assertEqual((len(page.rows), page.total), (3, SESSIONS))
        self.assertEqual(len(seen), 2)
        for statement in seen:
            for *_, step in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
                self.assertIn("sessions_by_kind (stateless=?", step)
