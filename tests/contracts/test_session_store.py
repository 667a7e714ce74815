"""What every session store promises, run on each of them."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import session_key
from openclaw_twisted.boundaries import SessionRow, SessionStore, StoredMessage, TurnRecord
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, Usage
from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.sessions.sqlite import SqliteStore
from tests.sessions.examples import SESSION, run, turn
from tests.sessions.threaded_clock import ThreadedClock

T = TypeVar("T")

NOW = 5000.0

if TYPE_CHECKING:
    Suite = SynchronousTestCase
else:
    Suite = object


class SessionStoreContract(Suite):
    """The suite. A subclass makes the stores."""

    def new_store(self) -> SessionStore:
        """Return a store that is not open."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.reactor = ThreadedClock()
        self.store = self.open_store()

    def open_store(self) -> SessionStore:
        store = self.new_store()
        self.do(store.open())
        self.addCleanup(lambda: self.do(store.close()))
        return store

    def do(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        return self.reactor.result_of(work)

    def restart(self) -> None:
        self.do(self.store.close())
        self.store = self.open_store()

    def settle(self) -> None:
        """Wait until the notes are written."""
        self.reactor.advance(60)
        self.do(self.store.begin(run("settle", "agent:main:settle", status="finished")))

    def texts(self, session: str = SESSION, limit: int = 1000) -> list[object]:
        return [stored.message.content for stored in self.do(self.store.history(session, limit))]

    def test_a_new_store_is_empty(self):
        self.assertEqual(self.do(self.store.history(SESSION)), ())
        self.assertEqual(self.do(self.store.sessions()), ())
        self.assertIsNone(self.do(self.store.run("run-1")))

    def test_a_turn_is_kept_whole(self):
        committed = turn()
        self.do(self.store.commit(committed))

        question, answer = committed.messages
        self.assertEqual(
            self.do(self.store.history(SESSION)),
            (
                StoredMessage(seq=1, run_id="run-1", at=100.0, message=question),
                StoredMessage(seq=2, run_id="run-1", at=101.5, message=answer),
            ),
        )
        self.assertEqual(self.do(self.store.run("run-1")), committed.run)

    def test_every_shape_of_message_survives(self):
        messages = (
            Message(role="system", content=""),
            Message(
                role="user",
                content=(TextPart("what is this?"), ImagePart("image/png", "aGk=", detail="low")),
                name="zoë",
            ),
            Message(role="assistant", tool_calls=(ToolCall("c1", "look", '{"at": "\\u0000"}'),)),
            Message(role="tool", content="a\0b\u2028\U0001f600\r\n", tool_call_id="c1"),
            Message(role="assistant", content="ok"),
        )
        self.do(self.store.commit(TurnRecord(run=run(), messages=messages)))
        self.restart()
        self.assertEqual(tuple(m.message for m in self.do(self.store.history(SESSION))), messages)

    def test_turns_are_appended_in_order(self):
        for number in range(3):
            self.do(self.store.commit(turn(f"run-{number}", SESSION, f"q{number}", f"a{number}")))
        history = self.do(self.store.history(SESSION))
        self.assertEqual([m.seq for m in history], [1, 2, 3, 4, 5, 6])
        self.assertEqual([m.message.content for m in history], ["q0", "a0", "q1", "a1", "q2", "a2"])

    def test_a_limit_means_the_newest_oldest_first(self):
        self.do(self.store.commit(turn("run-1", SESSION, "1", "2", "3", "4", "5")))
        self.assertEqual(self.texts(limit=2), ["4", "5"])
        self.assertEqual(self.texts(limit=5), ["1", "2", "3", "4", "5"])
        self.assertEqual(self.texts(limit=6), ["1", "2", "3", "4", "5"])
        self.assertEqual(self.texts(limit=0), [])
        self.assertEqual(self.texts(limit=-1), [])

    def test_sessions_do_not_mix(self):
        keys = ["agent:main:a", "agent:main:A", "agent:main:a%", "agent:other:a", "agent:main:ä'; --"]
        for number, key in enumerate(keys):
            self.do(self.store.commit(turn(f"run-{number}", key, key)))
        for key in keys:
            self.assertEqual(self.texts(key), [key])

    def test_a_run_is_known_from_its_start(self):
        started = run(status="running", ended_at=None)
        self.do(self.store.begin(started))
        self.assertEqual(self.do(self.store.run("run-1")), started)
        self.assertEqual(self.do(self.store.history(SESSION)), ())

    def test_a_run_ends_with_its_turn(self):
        ended = run(
            status="failed",
            finish_reason="length",
            error_code="upstream_timeout",
            usage=Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7, cached_tokens=2),
        )
        self.do(self.store.begin(run(status="running", ended_at=None)))
        self.do(self.store.commit(TurnRecord(run=ended, messages=())))
        self.restart()
        self.assertEqual(self.do(self.store.run("run-1")), ended)
        self.assertEqual(self.do(self.store.history(SESSION)), ())

    def test_runs_that_a_crash_left_become_interrupted(self):
        left = [run("run-q", status="queued", ended_at=None), run("run-r", status="running", ended_at=None)]
        over = [run("run-f"), run("run-c", status="cancelled"), run("run-x", status="failed")]
        for record in left + over:
            self.do(self.store.begin(record))
        self.restart()
        for record in left:
            self.assertEqual(
                self.do(self.store.run(record.run_id)),
                msgspec.structs.replace(record, status="interrupted", ended_at=NOW),
            )
        for record in over:
            self.assertEqual(self.do(self.store.run(record.run_id)), record)

    def test_only_an_answer_that_was_cut_off_is_marked(self):
        def marks(*roles: Any) -> list[bool]:
            key = "agent:main:" + "-".join(roles)
            messages = tuple(Message(role=role, content="x") for role in roles)
            self.do(self.store.commit(TurnRecord(run=run(key, key), messages=messages, interrupted=True)))
            return [stored.interrupted for stored in self.do(self.store.history(key))]

        self.assertEqual(marks("user", "assistant"), [False, True])
        self.assertEqual(marks("user", "assistant", "tool", "assistant"), [False, False, False, True])
        self.assertEqual(marks("user", "assistant", "tool"), [False, False, False])
        self.assertEqual(marks("user"), [False])

    def test_what_the_caller_said_dates_from_the_start_of_the_run(self):
        seeded = turn("run-1", SESSION, "old question", "old answer", "question", "answer")
        self.do(self.store.commit(seeded))
        self.do(self.store.commit(turn("run-2", SESSION, "again", started_at=200.0, ended_at=None)))
        self.assertEqual(
            [stored.at for stored in self.do(self.store.history(SESSION))], [100, 100, 100, 101.5, 200]
        )

    def test_a_session_is_listed_with_its_counts(self):
        self.do(self.store.begin(run("run-1", status="running", ended_at=None)))
        row = SessionRow(
            session_key=SESSION, agent_id="main", created_at=100.0, updated_at=100.0, message_count=0
        )
        self.assertEqual(self.do(self.store.sessions()), (row,))

        self.do(self.store.commit(turn("run-1")))
        self.do(self.store.commit(turn("run-2", started_at=300.0, ended_at=310.0)))
        row = msgspec.structs.replace(row, updated_at=310.0, message_count=4)
        self.assertEqual(self.do(self.store.sessions()), (row,))

    def test_sessions_are_listed_newest_first(self):
        for key, ended_at in (("b", 5.0), ("old", 1.0), ("new", 9.0), ("a", 5.0)):
            self.do(self.store.commit(turn(key, f"agent:main:{key}", ended_at=ended_at)))

        def listed(limit: int) -> list[str]:
            return [row.session_key.rpartition(":")[2] for row in self.do(self.store.sessions(limit))]

        self.assertEqual(listed(100), ["new", "a", "b", "old"])
        self.assertEqual(listed(2), ["new", "a"])
        self.assertEqual(listed(0), [])
        self.assertEqual(listed(-1), [])

    def test_a_clock_that_jumps_back_does_not_make_a_session_older(self):
        self.do(self.store.commit(turn("run-1", ended_at=900.0)))
        self.do(self.store.commit(turn("run-2", ended_at=500.0)))
        (row,) = self.do(self.store.sessions())
        self.assertEqual((row.created_at, row.updated_at), (100.0, 900.0))

    def test_a_note_is_kept_soon(self):
        key = str(session_key.stateless("main"))
        noted = turn("run-1", key)
        self.store.note(noted)
        self.settle()
        self.assertEqual(self.do(self.store.run("run-1")), noted.run)
        self.assertEqual(self.texts(key), ["question of run-1", "answer of run-1"])

    def test_closing_keeps_the_notes(self):
        for number in range(300):
            self.store.note(turn(f"run-{number}", f"agent:main:openai:{number}"))
        self.restart()
        self.assertEqual(len(self.do(self.store.sessions(1000))), 300)

    def test_a_restart_loses_nothing(self):
        self.do(self.store.commit(turn("run-1")))
        before = self.do(self.store.history(SESSION)), self.do(self.store.sessions())
        self.restart()
        self.assertEqual((self.do(self.store.history(SESSION)), self.do(self.store.sessions())), before)
        self.do(self.store.commit(turn("run-2")))
        self.assertEqual([m.seq for m in self.do(self.store.history(SESSION))], [1, 2, 3, 4])

    def test_many_commits_at_once_keep_their_order(self):
        keys = [f"agent:main:{n}" for n in range(4)]
        commits = [
            Deferred.fromCoroutine(self.store.commit(turn(f"run-{n}", keys[n % 4], f"{n}")))
            for n in range(200)
        ]
        self.reactor.result_of(gatherResults(commits))
        for index, key in enumerate(keys):
            self.assertEqual(self.texts(key), [f"{n}" for n in range(index, 200, 4)])

    def test_a_turn_that_cannot_be_kept_fails_alone(self):
        bad = "half a pair: \ud83d"
        commits = [
            Deferred.fromCoroutine(self.store.commit(each))
            for each in (
                turn("run-1", SESSION, "before"),
                turn("run-2", SESSION, "good", bad),
                turn(bad, SESSION, "also bad"),
                turn("run-3", SESSION, "after"),
            )
        ]
        outcomes = self.reactor.result_of(DeferredList(commits))
        self.assertEqual([success for success, _ in outcomes], [True, False, False, True])
        for commit in commits[1:3]:
            self.failureResultOf(commit, StorageError)
        self.assertEqual(self.texts(), ["before", "after"])
        self.assertIsNone(self.do(self.store.run("run-2")))

    def test_a_note_that_cannot_be_kept_is_dropped(self):
        self.store.note(turn("run-1", SESSION, "half a pair: \ud83d"))
        self.store.note(turn("run-2", SESSION, "good"))
        self.settle()
        self.assertEqual(self.texts(), ["good"])

    def test_pruning_takes_old_stateless_sessions_only(self):
        keys = {
            "old": "agent:main:openai:1",
            "young": "agent:main:openai:2",
            "user": "agent:main:openai-user:3",
            "named": "agent:main:main",
        }
        for name, key in keys.items():
            ended_at = 1000.0 if name == "young" else 999.0
            self.do(self.store.commit(turn(name, key, name, ended_at=ended_at)))

        self.assertEqual(self.do(self.store.prune_stateless(1000.0)), 1)
        self.assertEqual(self.texts(keys.pop("old")), [])
        self.assertIsNone(self.do(self.store.run("old")))
        for name, key in keys.items():
            self.assertEqual(self.texts(key), [name])
            self.assertIsNotNone(self.do(self.store.run(name)))
        self.assertEqual({row.session_key for row in self.do(self.store.sessions())}, set(keys.values()))
        self.assertEqual(self.do(self.store.prune_stateless(1000.0)), 0)

    def test_pruning_takes_runs_that_never_came_to_a_turn(self):
        self.do(self.store.begin(run("run-1", "agent:main:openai:1", status="running", ended_at=None)))
        self.assertEqual(self.do(self.store.prune_stateless(1000.0)), 1)
        self.assertIsNone(self.do(self.store.run("run-1")))

    def test_pruning_many(self):
        commits = [
            Deferred.fromCoroutine(self.store.commit(turn(f"run-{n}", f"agent:main:openai:{n}")))
            for n in range(200)
        ]
        self.reactor.result_of(gatherResults(commits))
        self.assertEqual(self.do(self.store.prune_stateless(1000.0)), 200)
        self.assertEqual(self.do(self.store.sessions()), ())

    def test_cancelling_does_no_harm(self):
        commit = Deferred.fromCoroutine(self.store.commit(turn("run-1")))
        history = Deferred.fromCoroutine(self.store.history(SESSION))
        for deferred in (commit, history):
            deferred.addErrback(lambda failure: failure.trap(CancelledError))
            deferred.cancel()
        self.do(self.store.commit(turn("run-2")))
        self.assertEqual(
            [m.run_id for m in self.do(self.store.history(SESSION))], ["run-1"] * 2 + ["run-2"] * 2
        )

    def check_refuses(self, store: SessionStore) -> None:
        for call in (
            lambda: store.history(SESSION),
            store.sessions,
            lambda: store.run("run-1"),
            lambda: store.begin(run()),
            lambda: store.commit(turn()),
            lambda: store.prune_stateless(1.0),
        ):
            with self.assertRaises(StorageError):
                self.do(call())
        with self.assertRaises(StorageError):
            store.note(turn())

    def test_a_store_that_is_not_open_refuses(self):
        self.do(self.store.close())
        self.check_refuses(self.store)
        self.check_refuses(self.new_store())

    def test_closing_twice_is_harmless(self):
        both = [Deferred.fromCoroutine(self.store.close()) for _ in range(2)]
        self.reactor.result_of(gatherResults(both))
        self.do(self.store.close())

    def test_opening_twice_is_refused(self):
        with self.assertRaises(StorageError):
            self.do(self.store.open())
        self.do(self.store.commit(turn()))

    def test_a_closed_store_can_be_opened_again(self):
        self.do(self.store.commit(turn()))
        self.do(self.store.close())
        self.do(self.store.open())
        self.assertEqual(len(self.do(self.store.history(SESSION))), 2)


class MemoryStoreTests(SessionStoreContract, SynchronousTestCase):
    def new_store(self) -> SessionStore:
        return MemoryStore(now=lambda: NOW)

    def restart(self) -> None:
        self.do(self.store.close())
        self.do(self.store.open())


class SqliteStoreTests(SessionStoreContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite3"
        super().setUp()

    def new_store(self) -> SessionStore:
        return SqliteStore(self.reactor, self.path, now=lambda: NOW)
