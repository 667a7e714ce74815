from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import RunRecord, TurnRecord
from openclaw_twisted.content import Message
from openclaw_twisted.sessions.notes import MAX_WAITING, MAX_WAITING_CHARACTERS, Notes


def note(name: str = "n", size: int = 10, messages: int = 1) -> TurnRecord:
    run = RunRecord(
        run_id="r", session_key=name, agent_id="main", model="m", status="finished", started_at=0.0
    )
    return TurnRecord(run=run, messages=(Message(role="user", content="x" * size),) * messages)


class NotesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.writes: list[tuple[list[str], Deferred[list[Any]]]] = []
        self.notes = Notes(self.clock, self.write)

    def write(self, turns: Sequence[TurnRecord]) -> Deferred[list[Any]]:
        done: Deferred[list[Any]] = Deferred()
        self.writes.append(([turn.run.session_key for turn in turns], done))
        return done

    def names(self) -> list[str]:
        return [name for names, _ in self.writes for name in names]

    def finish(self) -> None:
        writes, self.writes = self.writes, []
        for names, done in writes:
            done.callback([None] * len(names))

    def test_notes_are_gathered_for_a_moment(self):
        self.notes.add(note("a"))
        self.notes.add(note("b"))
        self.assertEqual(self.writes, [])
        self.clock.advance(1)
        self.assertEqual(self.names(), ["a", "b"])

    def test_nothing_is_scheduled_while_nothing_waits(self):
        self.notes.add(note())
        self.clock.advance(1)
        self.finish()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_write_is_under_way_at_a_time(self):
        self.notes.add(note("a"))
        self.clock.advance(1)
        self.notes.add(note("b"))
        self.clock.advance(1)
        self.assertEqual(self.names(), ["a"])
        self.finish()
        self.clock.advance(1)
        self.assertEqual(self.names(), ["b"])

    def parts(self) -> list[int]:
        """Return how many turns are written at a time, until a pause is made."""
        parts = []
        self.clock.advance(1)
        while self.writes:
            (names, _) = self.writes[0]
            self.assertEqual(len(self.writes), 1)
            parts.append(len(names))
            self.finish()
        return parts

    def test_many_are_written_in_parts_without_a_pause(self):
        for number in range(300):
            self.notes.add(note(f"{number}"))
        self.assertEqual(self.parts(), [128, 128])
        self.assertEqual(self.parts(), [44])

    def test_turns_of_many_messages_are_written_in_parts_without_a_pause(self):
        for messages in (1, 5000, 1999, 1, 2000, 1):
            self.notes.add(note(messages=messages))
        self.assertEqual(self.parts(), [2, 2, 1])
        self.assertEqual(self.parts(), [1])

    def test_large_turns_are_written_in_parts_without_a_pause(self):
        large = 2 * 1024 * 1024
        for size in (large, large - 1, 1, large + 1, large - 1):
            self.notes.add(note(size=size))
        self.assertEqual(self.parts(), [1, 2, 1])
        self.assertEqual(self.parts(), [1])

    def test_the_oldest_go_when_too_many_wait(self):
        for number in range(MAX_WAITING + 2):
            self.notes.add(note(f"{number}"))
        self.clock.advance(1)
        self.assertEqual(self.names()[0], "2")

    def test_the_oldest_go_when_too_large_ones_wait(self):
        self.notes.add(note("a", MAX_WAITING_CHARACTERS // 2))
        self.notes.add(note("b", MAX_WAITING_CHARACTERS // 2))
        self.notes.add(note("c", 1))
        self.notes.close()
        self.assertEqual(self.names(), ["b", "c"])

    def test_a_note_that_is_too_large_by_itself_is_dropped(self):
        self.notes.add(note("a"))
        self.notes.add(note("b", MAX_WAITING_CHARACTERS + 1))
        self.notes.add(note("c"))
        self.clock.advance(1)
        self.assertEqual(self.names(), ["a", "c"])

    def test_what_is_lost_is_said_now_and_then_with_its_number(self):
        with capturedLogs() as logged:
            for _ in range(MAX_WAITING + 5):
                self.notes.add(note())
            self.assertEqual([event["count"] for event in logged], [1])
            self.clock.advance(30)
            self.notes.lose("not Unicode")
            self.notes.lose("not Unicode")
            self.assertEqual([event["count"] for event in logged], [1, 5])
            self.notes.close()
        self.assertEqual(
            [(event["count"], event["reason"]) for event in logged],
            [(1, "the disk is too slow"), (5, "not Unicode"), (1, "not Unicode")],
        )

    def test_notes_that_could_not_be_written_are_counted_with_the_reason(self):
        self.notes.add(note("a"))
        self.notes.add(note("b"))
        self.notes.add(note("c"))
        self.clock.advance(1)
        ((_, done),) = self.writes
        with capturedLogs() as logged:
            done.callback([Failure(OSError("disk is full")), None, Failure(OSError("disk is full"))])
        self.assertEqual([(event["count"], event["reason"]) for event in logged], [(2, "disk is full")])

    def test_closing_writes_everything_at_once(self):
        self.notes.add(note("under way"))
        self.clock.advance(1)
        for number in range(300):
            self.notes.add(note(f"{number}"))
        self.notes.close()
        self.assertEqual(len(self.names()), 301)
        self.finish()
        self.assertEqual(self.clock.getDelayedCalls(), [])
