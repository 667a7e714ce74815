from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Conversation
from openclaw_twisted.content import estimated_tokens
from openclaw_twisted.records import MAX_HISTORY_CHARACTERS, MAX_HISTORY_MESSAGES, StoredMessage
from openclaw_twisted.sessions import removal, rows, session_rows
from openclaw_twisted.sessions.migrate import shipped
from openclaw_twisted.sessions.tails import Tail, Tails
from openclaw_twisted.sessions.turns import ClaimLimits
from tests.sessions.examples import SESSION, turn

OTHER = "agent:main:other"


class TailsTests(SynchronousTestCase):
    """What a store gives with what it knows already is what it gives with nothing but the file."""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        for migration in shipped():
            self.connection.executescript(migration.sql)
        self.tails = Tails()
        self.before: dict[str, tuple[StoredMessage, ...]] = {}
        self.number = 0

    def add(self, *texts: str, session: str = SESSION) -> None:
        self.number += 1
        rows.record(self.connection, turn(f"run-{self.number}", session, *texts), ClaimLimits())

    def same(self, max_tokens: int | None = None, session: str = SESSION) -> Conversation:
        found, unreadable = session_rows.conversation(self.connection, session, max_tokens, self.tails)
        self.before[session] = found.messages
        fresh = session_rows.conversation(self.connection, session, max_tokens, Tails())
        self.assertEqual((found, unreadable), fresh)
        return found

    def decoded(self, session: str = SESSION) -> int:
        """Read once more; return how many messages were decoded for it, and are not those of last time."""
        before = self.before.get(session, ())
        found, _ = session_rows.conversation(self.connection, session, None, self.tails)
        self.before[session] = found.messages
        return sum(all(stored is not known for known in before) for stored in found.messages)

    def test_only_what_is_new_is_read(self) -> None:
        self.add(*"abcdef")
        self.same()
        self.assertEqual(self.decoded(), 0)
        self.add(*"gh")
        self.assertEqual(self.decoded(), 2)
        self.assertEqual(len(self.same().messages), 8)

    def test_another_conversation_is_read_anew(self) -> None:
        self.add(*"abcd")
        self.same()
        session_rows.reset(self.connection, SESSION, 5.0)
        self.assertEqual(self.same().messages, ())
        self.add(*"ef")
        self.assertEqual([stored.message.content for stored in self.same().messages], ["e", "f"])
        removal.delete(self.connection, SESSION)
        self.assertEqual(self.same(), Conversation(session=None))
        self.add(*"gh")
        self.assertEqual([stored.message.content for stored in self.same().messages], ["g", "h"])

    def test_what_is_compacted_is_gone(self) -> None:
        self.add(*"abcdef")
        self.same()
        session_rows.compact(self.connection, SESSION, 2, 5.0)
        self.assertEqual([stored.message.content for stored in self.same().messages], ["e", "f"])
        self.assertEqual(self.decoded(), 0)

    def test_less_room_and_then_more(self) -> None:
        self.add(*("x" * 350 for _ in range(10)))
        cost = estimated_tokens(self.same().messages[0].message)
        for count in (3, 1, 0, 7, 5, 10, 2, 20):
            self.assertEqual(len(self.same(count * cost).messages), min(max(count, 1), 10))
        self.add("y", "z")
        self.same(3 * cost)
        self.same()

    def test_a_turn_gets_so_many_messages_at_most(self) -> None:
        self.add(*("x" for _ in range(MAX_HISTORY_MESSAGES - 1)))
        self.same()
        self.add("y", "z")
        self.assertEqual(len(self.same().messages), MAX_HISTORY_MESSAGES)
        self.assertEqual(self.decoded(), 0)

    def test_a_turn_gets_so_many_characters_at_most(self) -> None:
        self.tails = Tails(max_characters=3 * MAX_HISTORY_CHARACTERS)
        half = "x" * (MAX_HISTORY_CHARACTERS // 2)
        self.add("a", half, half)
        self.assertEqual(len(self.same().messages), 2)
        self.add("b", half[1:])
        self.assertEqual(len(self.same().messages), 3)
        self.assertEqual(self.decoded(), 0)

    def test_damage_is_told_each_time(self) -> None:
        self.add(*"abcd")
        self.same()
        self.add(*"ef")
        self.connection.execute("UPDATE messages SET body = '{' WHERE seq = 5")
        for _ in range(2):
            found, unreadable = session_rows.conversation(self.connection, SESSION, None, self.tails)
            self.assertEqual([stored.message.content for stored in found.messages], list("abcdf"))
            self.assertEqual(unreadable, (5,))

    def test_the_longest_unused_goes_when_there_is_too_much(self) -> None:
        self.tails = Tails(max_characters=6600)
        self.add("a", "b")
        self.add("a", "b", session=OTHER)
        for session in (SESSION, OTHER, SESSION, OTHER):
            self.same(session=session)
        self.assertEqual(self.decoded(OTHER), 0)
        self.add("c", "d", session=OTHER)
        self.assertEqual(self.decoded(OTHER), 2)
        self.assertEqual(self.decoded(SESSION), 2)
        self.assertEqual(self.decoded(OTHER), 4)

    def test_what_is_dropped_counts_no_more(self) -> None:
        self.add(*("x" * 350 for _ in range(6)))
        tail = Tail(session_id="id")
        empty = tail.characters
        tail.add(self.same().messages)
        whole = tail.characters - empty
        tail.cut(3, 10_000)
        left = tail.characters - empty
        self.assertEqual((left * 2, len(tail.messages), tail.tokens * 2), (whole, 3, self.same().tokens))
