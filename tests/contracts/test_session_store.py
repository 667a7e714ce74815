"""What every session store promises, run on each of them."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import session_key
from openclaw_twisted.boundaries import (
    MAX_HISTORY_CHARACTERS,
    Claim,
    Conversation,
    Pruned,
    Recollection,
    Retention,
    SessionPatch,
    SessionQuery,
    SessionRow,
    SessionStore,
    StoredMessage,
    TurnRecord,
)
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall, Usage, estimated_tokens
from openclaw_twisted.errors import InvalidRequestError, StorageError
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.sessions.sqlite import SqliteStore
from openclaw_twisted.sessions.turns import ClaimLimits
from tests.sessions.examples import SESSION, run, turn
from tests.sessions.threaded_clock import ThreadedClock

T = TypeVar("T")

NOW = 5000.0
KEPT_SECONDS = 300.0
LIMITS = ClaimLimits(keep_seconds=KEPT_SECONDS, max_kept=5)

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

    def listed(self, **query: Any) -> tuple[SessionRow, ...]:
        return self.do(self.store.sessions(SessionQuery(**query))).rows

    def pruned(self, **retention: Any) -> Pruned:
        return self.do(self.store.prune(Retention(**retention)))

    def test_a_new_store_is_empty(self):
        self.assertEqual(self.do(self.store.history(SESSION)), ())
        self.assertEqual(self.do(self.store.sessions()).rows, ())
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

    def test_sessions_are_told_apart_by_how_their_ids_begin(self):
        for number in range(20):
            self.do(self.store.commit(turn(f"run-{number}", f"agent:main:{number}")))
            if number % 2:
                self.do(self.store.reset(f"agent:main:{number}", 200.0))
        listed = self.listed(stateless=False)
        self.assertEqual(len({row.session_id[:8] for row in listed}), 20)

    def test_a_session_is_listed_with_its_counts(self):
        self.do(self.store.begin(run("run-1", status="running", ended_at=None)))
        (row,) = self.do(self.store.sessions()).rows
        uuid.UUID(row.session_id)
        expected = SessionRow(
            session_key=SESSION,
            agent_id="main",
            session_id=row.session_id,
            created_at=100.0,
            started_at=100.0,
            updated_at=100.0,
        )
        self.assertEqual(row, expected)

        self.do(self.store.commit(turn("run-1")))
        self.do(self.store.commit(turn("run-2", started_at=300.0, ended_at=310.0)))
        row = msgspec.structs.replace(
            row,
            updated_at=310.0,
            message_count=4,
            last_seq=4,
            title="question of run-1",
            preview="answer of run-2",
        )
        self.assertEqual(self.do(self.store.sessions()).rows, (row,))
        self.assertEqual(self.do(self.store.session(SESSION)), row)
        self.assertIsNone(self.do(self.store.session("agent:main:none")))

    def test_sessions_are_listed_newest_first(self):
        for key, ended_at in (("b", 5.0), ("old", 1.0), ("new", 9.0), ("a", 5.0)):
            self.do(self.store.commit(turn(key, f"agent:main:{key}", ended_at=ended_at)))

        def listed(limit: int) -> list[str]:
            return [row.session_key.rpartition(":")[2] for row in self.listed(limit=limit)]

        self.assertEqual(listed(100), ["new", "a", "b", "old"])
        self.assertEqual(listed(2), ["new", "a"])
        self.assertEqual(listed(0), [])
        self.assertEqual(listed(-1), [])

    def test_a_clock_that_jumps_back_does_not_make_a_session_older(self):
        self.do(self.store.commit(turn("run-1", ended_at=900.0)))
        self.do(self.store.commit(turn("run-2", ended_at=500.0)))
        (row,) = self.listed()
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
        self.assertEqual(len(self.listed(limit=1000)), 300)

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

        self.assertEqual(self.pruned(stateless_before=1000.0).stateless, 1)
        self.assertEqual(self.texts(keys.pop("old")), [])
        self.assertIsNone(self.do(self.store.run("old")))
        for name, key in keys.items():
            self.assertEqual(self.texts(key), [name])
            self.assertIsNotNone(self.do(self.store.run(name)))
        self.assertEqual({row.session_key for row in self.listed()}, set(keys.values()))
        self.assertEqual(self.pruned(stateless_before=1000.0).stateless, 0)

    def test_pruning_takes_runs_that_never_came_to_a_turn(self):
        self.do(self.store.begin(run("run-1", "agent:main:openai:1", status="running", ended_at=None)))
        self.assertEqual(self.pruned(stateless_before=1000.0).stateless, 1)
        self.assertIsNone(self.do(self.store.run("run-1")))

    def test_pruning_many(self):
        commits = [
            Deferred.fromCoroutine(self.store.commit(turn(f"run-{n}", f"agent:main:openai:{n}")))
            for n in range(200)
        ]
        self.reactor.result_of(gatherResults(commits))
        self.assertEqual(self.pruned(stateless_before=1000.0).stateless, 200)
        self.assertEqual(self.do(self.store.sessions()).rows, ())

    def test_a_page_of_the_past_ends_before_a_message(self):
        self.do(self.store.commit(turn("run-1", SESSION, *"12345")))

        def page(limit: int, before: int) -> list[int]:
            return [stored.seq for stored in self.do(self.store.history(SESSION, limit, before_seq=before))]

        self.assertEqual(page(2, 4), [2, 3])
        self.assertEqual(page(9, 4), [1, 2, 3])
        self.assertEqual(page(9, 1), [])

    def test_a_conversation_is_a_session_with_what_fits_of_it(self):
        self.assertEqual(self.do(self.store.conversation(SESSION)), Conversation(session=None))
        self.do(self.store.commit(turn("run-1", SESSION, "x" * 350, "y" * 350, "z" * 350)))
        whole = self.do(self.store.conversation(SESSION))
        self.assertEqual(whole.session, self.do(self.store.session(SESSION)))
        self.assertEqual([stored.seq for stored in whole.messages], [1, 2, 3])

        def seqs(max_tokens: int) -> list[int]:
            found = self.do(self.store.conversation(SESSION, max_tokens=max_tokens))
            costs = [estimated_tokens(stored.message) for stored in found.messages]
            self.assertEqual(found.tokens, sum(costs))
            return [stored.seq for stored in found.messages]

        tokens = estimated_tokens(whole.messages[0].message)
        self.assertEqual(seqs(1), [3])
        self.assertEqual(seqs(tokens), [3])
        self.assertEqual(seqs(tokens + 1), [2, 3])
        self.assertEqual(seqs(3 * tokens), [1, 2, 3])

    def test_a_conversation_is_told_how_it_began(self):
        first, second = (Message(role="system", content=f"{n}" * 350) for n in "12")
        said = (first, second, Message(role="user", content="a"), first, Message(role="user", content="b"))
        self.do(self.store.commit(TurnRecord(run=run("run-1", SESSION), messages=said)))

        def found(max_tokens: int | None) -> tuple[list[int], tuple[Message, ...]]:
            conversation = self.do(self.store.conversation(SESSION, max_tokens=max_tokens))
            return [stored.seq for stored in conversation.messages], conversation.opening

        self.assertEqual(found(None), ([1, 2, 3, 4, 5], ()))
        self.assertEqual(found(150), ([2, 3, 4, 5], (first,)))
        self.assertEqual(found(100), ([4, 5], (first, second)))
        self.assertEqual(found(1), ([5], (first, second)))
        self.do(self.store.compact(SESSION, 1, 2.0))
        self.assertEqual(found(1), ([5], ()))

    def test_a_conversation_is_read_until_it_is_too_large(self):
        half = "x" * (MAX_HISTORY_CHARACTERS // 2)
        self.do(self.store.commit(turn("run-1", SESSION, half, half, half[1:], "y")))
        self.assertEqual([m.seq for m in self.do(self.store.conversation(SESSION)).messages], [2, 3, 4])

    def test_a_page_ends_where_it_is_too_large(self):
        self.do(self.store.commit(turn("run-1", SESSION, "aa", "bbb", "cc", "d")))

        def page(max_characters: int, **which: int) -> list[int]:
            kept = self.do(self.store.history(SESSION, max_characters=max_characters, **which))
            return [stored.seq for stored in kept]

        pages = [page(max_characters) for max_characters in (1, 2, 3, 4, 6)]
        self.assertEqual(pages, [[4], [3, 4], [3, 4], [2, 3, 4], [2, 3, 4]])
        self.assertEqual(page(5, before_seq=4), [2, 3])

    def test_a_title_tells_how_it_began_and_a_preview_how_it_stands(self):
        self.do(self.store.commit(turn("run-1", SESSION, " how \n\t are\0you? ", "well")))
        self.do(self.store.commit(turn("run-2", SESSION, "and now?", "z" * 300)))
        (row,) = self.listed()
        self.assertEqual(row.title, "how are you?")
        self.assertEqual(row.preview, "z" * 199 + "…")

    def test_tokens_add_up_and_the_last_run_tells_what_the_context_holds(self):
        for number, usage in enumerate((Usage(10, 2, 12), None, Usage(30, 4, 34))):
            self.do(self.store.begin(run(f"run-{number}", status="running", usage=usage)))
            self.do(self.store.commit(turn(f"run-{number}", usage=usage)))
        (row,) = self.listed()
        self.assertEqual((row.input_tokens, row.output_tokens, row.total_tokens), (40, 6, 46))
        self.assertEqual(row.context_tokens, 34)

    def test_what_is_chosen_for_a_session_stays_until_it_is_cleared(self):
        self.do(self.store.commit(turn()))
        change = SessionPatch(
            label="work", model="p/m", thinking_level="high", options={"fast": True, "x": 1}
        )
        patched = self.do(self.store.patch(SESSION, change, 500.0))
        self.assertEqual((patched.label, patched.model, patched.thinking_level), ("work", "p/m", "high"))
        self.assertEqual((patched.verbose_level, patched.options), (None, {"fast": True, "x": 1}))
        self.assertEqual((patched.updated_at, patched.message_count), (500.0, 2))
        self.restart()
        self.assertEqual(self.do(self.store.session(SESSION)), patched)
        change = SessionPatch(model=None, verbose_level="on", options={"fast": None})
        patched = self.do(self.store.patch(SESSION, change, 400.0))
        self.assertEqual((patched.label, patched.model, patched.verbose_level), ("work", None, "on"))
        self.assertEqual((patched.options, patched.updated_at), ({"x": 1}, 500.0))
        self.do(self.store.commit(turn("run-2")))
        row = self.do(self.store.session(SESSION))
        self.assertEqual((row.label, row.thinking_level) if row else None, ("work", "high"))

    def test_a_patch_creates_its_session(self):
        row = self.do(self.store.patch("agent:other:new", SessionPatch(label="n"), 7.0))
        self.assertEqual((row.agent_id, row.created_at, row.started_at, row.updated_at), ("other", 7, 7, 7))
        self.assertEqual(self.do(self.store.session("agent:other:new")), row)
        self.do(self.store.commit(turn("run-1", "agent:other:new", started_at=9.0)))
        after = self.do(self.store.session("agent:other:new"))
        self.assertEqual((after.session_id, after.created_at) if after else None, (row.session_id, 7.0))

    def test_a_label_is_one_sessions(self):
        self.do(self.store.patch("agent:main:a", SessionPatch(label="x"), 1.0))
        with self.assertRaises(InvalidRequestError) as caught:
            self.do(self.store.patch("agent:main:b", SessionPatch(label="x"), 2.0))
        self.assertEqual(caught.exception.message, "label already in use: x")
        self.assertIsNone(self.do(self.store.session("agent:main:b")))
        self.do(self.store.patch("agent:main:a", SessionPatch(label="x"), 3.0))
        self.do(self.store.patch("agent:main:a", SessionPatch(label=None), 4.0))
        self.do(self.store.patch("agent:main:b", SessionPatch(label="x"), 5.0))

    def test_a_session_is_found_by_its_id_or_its_label(self):
        row = self.do(self.store.patch(SESSION, SessionPatch(label="x"), 1.0))
        self.assertEqual(self.do(self.store.find_session(session_id=row.session_id)), row)
        self.assertEqual(self.do(self.store.find_session(label="x")), row)
        self.assertIsNone(self.do(self.store.find_session(session_id=SESSION)))
        self.assertIsNone(self.do(self.store.find_session(label="X")))
        self.assertIsNone(self.do(self.store.find_session()))

    def test_a_patch_that_cannot_be_kept_changes_nothing(self):
        with self.assertRaises(StorageError):
            self.do(self.store.patch(SESSION, SessionPatch(label="half a pair: \ud83d"), 1.0))
        self.assertIsNone(self.do(self.store.session(SESSION)))

    def test_a_reset_begins_another_conversation(self):
        self.do(self.store.commit(turn("run-1", usage=Usage(1, 2, 3))))
        before = self.do(self.store.patch(SESSION, SessionPatch(label="x", model="p/m"), 150.0))
        after = self.do(self.store.reset(SESSION, 200.0))
        self.assertNotEqual(after.session_id, before.session_id)
        expected = msgspec.structs.replace(
            before,
            session_id=after.session_id,
            started_at=200.0,
            updated_at=200.0,
            message_count=0,
            title=None,
            preview=None,
            input_tokens=0,
            output_tokens=0,
            total_tokens=0,
            context_tokens=None,
        )
        self.assertEqual(after, expected)
        self.restart()
        self.assertEqual(self.texts(), [])
        self.assertEqual(self.do(self.store.conversation(SESSION)), Conversation(session=after))
        self.assertIsNone(self.do(self.store.find_session(session_id=before.session_id)))

        self.do(self.store.commit(turn("run-2", SESSION, "anew", started_at=300.0, ended_at=301.0)))
        self.assertEqual([stored.seq for stored in self.do(self.store.history(SESSION))], [3])
        (row,) = self.listed()
        self.assertEqual((row.title, row.message_count, row.last_seq), ("anew", 1, 3))

    def test_resetting_what_is_not_there_creates_it(self):
        row = self.do(self.store.reset(SESSION, 5.0))
        self.assertEqual((row.created_at, row.message_count), (5.0, 0))
        self.assertEqual(self.do(self.store.session(SESSION)), row)

    def compacted(self, keep: int) -> tuple[int, list[object]]:
        return self.do(self.store.compact(SESSION, keep, 900.0)), self.texts()

    def test_compacting_keeps_the_newest_turns_whole(self):
        for number in range(3):
            self.do(self.store.commit(turn(f"run-{number}", SESSION, f"q{number}", f"a{number}")))
        self.assertEqual(self.compacted(6), (0, ["q0", "a0", "q1", "a1", "q2", "a2"]))
        self.assertEqual(self.compacted(5), (2, ["q1", "a1", "q2", "a2"]))
        self.assertEqual(self.compacted(4), (0, ["q1", "a1", "q2", "a2"]))
        self.assertEqual(self.compacted(1), (2, ["q2", "a2"]))
        self.assertEqual(self.compacted(0), (0, ["q2", "a2"]))
        self.restart()
        self.assertEqual(self.texts(), ["q2", "a2"])
        (row,) = self.listed()
        self.assertEqual((row.message_count, row.last_seq, row.title), (2, 6, "q0"))

    def test_compacting_splits_no_tool_round(self):
        call = Message(role="assistant", tool_calls=(ToolCall("c1", "look", "{}"),))
        result = Message(role="tool", content="seen", tool_call_id="c1")
        first = (Message(role="user", content="old"), Message(role="assistant", content="x"))
        question = (Message(role="user", content="context"), Message(role="user", content="question"))
        round_ = (call, result, Message(role="assistant", content="done"))
        self.do(self.store.commit(TurnRecord(run=run("run-1"), messages=first)))
        self.do(self.store.commit(TurnRecord(run=run("run-2"), messages=(*question, *round_))))
        self.assertEqual(self.compacted(2), (2, ["context", "question", "", "seen", "done"]))

    def test_compacting_what_is_not_there_does_nothing(self):
        self.assertEqual(self.compacted(1), (0, []))
        self.assertIsNone(self.do(self.store.session(SESSION)))

    def test_deleting_many_messages(self):
        for number in range(3):
            self.do(self.store.commit(turn(f"run-{number}", SESSION, *("x" * 200_000,) * 60)))
        self.assertTrue(self.do(self.store.delete(SESSION)))
        self.assertIsNone(self.do(self.store.session(SESSION)))
        self.assertEqual(self.texts(), [])
        self.assertFalse(self.do(self.store.delete(SESSION)))

    def test_deleting_leaves_nothing(self):
        self.do(self.store.commit(turn("run-1")))
        self.do(self.store.reset(SESSION, 200.0))
        claim = Claim(scope="s", key="k")
        self.do(self.store.commit(TurnRecord(run=run("run-2"), messages=turn().messages, claim=claim)))
        self.do(self.store.commit(turn("run-3", "agent:main:other")))
        self.assertTrue(self.do(self.store.delete(SESSION)))
        self.assertFalse(self.do(self.store.delete(SESSION)))
        self.assertEqual(self.texts(), [])
        self.assertIsNone(self.do(self.store.session(SESSION)))
        self.assertEqual([each.run_id for each in self.do(self.store.runs())], ["run-3"])
        self.assertIsNone(self.do(self.store.recall("s", "k")))
        self.assertEqual(len(self.texts("agent:main:other")), 2)
        self.do(self.store.commit(turn("run-4", SESSION, "anew")))
        self.assertEqual([stored.seq for stored in self.do(self.store.history(SESSION))], [1])

    def test_a_listing_can_be_narrowed(self):
        self.do(self.store.commit(turn("1", "agent:main:Chat", "Über cats", ended_at=10.0)))
        dogs = turn("2", "agent:other:x", "dogs", ended_at=20.0)
        others = msgspec.structs.replace(dogs.run, agent_id="other")
        self.do(self.store.commit(msgspec.structs.replace(dogs, run=others)))
        self.do(self.store.commit(turn("3", "agent:main:openai:1", "cats", ended_at=30.0)))
        self.do(self.store.patch("agent:other:x", SessionPatch(label="About CATS"), 20.0))

        def found(**query: Any) -> tuple[list[str], int]:
            page = self.do(self.store.sessions(SessionQuery(**query)))
            return [row.session_key.removeprefix("agent:") for row in page.rows], page.total

        everything = ["main:openai:1", "other:x", "main:Chat"]
        self.assertEqual(found(), (everything, 3))
        self.assertEqual(found(limit=1), (everything[:1], 3))
        self.assertEqual(found(limit=2, offset=1), (everything[1:], 3))
        self.assertEqual(found(offset=3), ([], 3))
        self.assertEqual(found(stateless=False), (everything[1:], 2))
        self.assertEqual(found(agent_id="other"), (["other:x"], 1))
        self.assertEqual(found(active_since=20.0), (everything[:2], 2))
        self.assertEqual(found(search="Cats"), (everything[1:], 2))
        self.assertEqual(found(search="about"), (["other:x"], 1))
        self.assertEqual(found(search="chat", stateless=False), (["main:Chat"], 1))
        self.assertEqual(found(search="%"), ([], 0))
        (row,) = self.listed(agent_id="other")
        self.assertEqual(found(search=row.session_id[:13].upper()), (["other:x"], 1))

    def test_the_newest_sessions_of_each_agent(self):
        for at, key in enumerate(("main:a", "other:a", "main:b", "main:openai:1", "main:c"), start=10):
            one = turn(key, f"agent:{key}", "hello", ended_at=float(at))
            agents_own = msgspec.structs.replace(one.run, agent_id=key.partition(":")[0])
            self.do(self.store.commit(msgspec.structs.replace(one, run=agents_own)))
        pages = self.do(self.store.sessions_by_agent(2))
        told = {agent: ([row.session_key for row in page.rows], page.total) for agent, page in pages.items()}
        main = ["agent:main:c", "agent:main:b"]
        self.assertEqual(told, {"main": (main, 3), "other": (["agent:other:a"], 1)})
        self.assertEqual(pages["other"].rows, self.listed(agent_id="other"))

    def test_runs_are_listed_newest_first(self):
        for number, key in enumerate(("a", "b", "a")):
            self.do(self.store.commit(turn(f"run-{number}", f"agent:main:{key}", started_at=number * 1.0)))

        def listed(key: str | None = None, limit: int = 9) -> list[str]:
            return [each.run_id for each in self.do(self.store.runs(key, limit))]

        self.assertEqual(listed(), ["run-2", "run-1", "run-0"])
        self.assertEqual(listed(limit=1), ["run-2"])
        self.assertEqual(listed("agent:main:a"), ["run-2", "run-0"])
        self.assertEqual(listed("agent:main:c"), [])
        self.assertEqual(listed(limit=-1), [])

    def test_a_claim_leads_to_the_answer_of_its_run(self):
        claim = Claim(scope="http:me", key="k", digest=b"\0\xff")
        started = run(status="running", started_at=NOW, ended_at=None)
        self.do(self.store.begin(started, claim))
        self.assertEqual(self.do(self.store.recall("http:me", "k")), Recollection(claim=claim, run=started))
        self.assertIsNone(self.do(self.store.recall("ws:agent", "k")))
        ended = turn("run-1", started_at=NOW, ended_at=NOW)
        self.do(self.store.commit(msgspec.structs.replace(ended, claim=claim)))
        self.do(self.store.commit(turn("run-2", started_at=NOW, ended_at=NOW)))
        self.restart()
        recalled = Recollection(claim=claim, run=ended.run, answer=ended.messages[-1])
        self.assertEqual(self.do(self.store.recall("http:me", "k")), recalled)

    def test_the_claim_of_a_run_that_did_not_finish_leads_to_what_became_of_it(self):
        claim, other = Claim(scope="s", key="a"), Claim(scope="s", key="b")
        left = run("run-1", status="running", started_at=NOW, ended_at=None)
        failed = run("run-2", status="failed", ended_at=NOW, error_code="overloaded", error_message="Later.")
        self.do(self.store.begin(left, claim))
        self.do(self.store.commit(TurnRecord(run=failed, messages=turn().messages, claim=other)))
        self.restart()
        recalled = self.do(self.store.recall("s", "a"))
        self.assertEqual((recalled.run.status, recalled.answer) if recalled else None, ("interrupted", None))
        self.assertEqual(self.do(self.store.recall("s", "b")), Recollection(claim=other, run=failed))

    def test_a_key_that_is_claimed_again_is_the_new_runs(self):
        claim = Claim(scope="s", key="k", digest=b"1")
        self.do(self.store.begin(run("run-1", ended_at=NOW - 1), claim))
        self.do(self.store.begin(run("run-2", ended_at=NOW), msgspec.structs.replace(claim, digest=b"2")))
        recalled = self.do(self.store.recall("s", "k"))
        self.assertEqual((recalled.run.run_id, recalled.claim.digest) if recalled else None, ("run-2", b"2"))

    def test_claims_are_forgotten_with_time_and_number(self):
        def claimed(number: int, at: float) -> None:
            record = run(f"run-{number}", started_at=at, ended_at=at)
            self.do(self.store.begin(record, Claim(scope="s", key=str(number))))

        def known() -> list[int]:
            return [n for n in range(9) if self.do(self.store.recall("s", str(n))) is not None]

        claimed(0, NOW - KEPT_SECONDS)
        claimed(1, NOW - KEPT_SECONDS + 1)
        self.assertEqual(known(), [1])
        for number in range(2, 7):
            claimed(number, NOW + number)
        self.assertEqual(known(), [2, 3, 4, 5, 6])

    def test_pruning_takes_what_has_not_been_used_for_long(self):
        for name, ended_at in (("old", 10.0), ("kept", 20.0), ("young", 1000.0), ("openai:1", 10.0)):
            self.do(self.store.commit(turn(name, f"agent:main:{name}", ended_at=ended_at)))
        retention = Retention(unused_before=1000.0)
        self.assertEqual(self.do(self.store.surplus(retention)).sessions, 2)
        kept = frozenset({"agent:main:kept"})
        self.assertEqual(self.pruned(unused_before=1000.0, keep=kept).sessions, 1)
        self.assertEqual(
            {row.session_key.removeprefix("agent:main:") for row in self.listed()},
            {"kept", "young", "openai:1"},
        )
        self.assertEqual(self.do(self.store.runs("agent:main:old")), ())

    def test_pruning_takes_those_that_are_too_many(self):
        for number in range(30):
            self.do(self.store.commit(turn(f"{number}", f"agent:main:{number}", ended_at=100.0 + number)))
        self.do(self.store.commit(turn("once", "agent:main:openai:1", ended_at=1.0)))
        retention = Retention(max_sessions=4, keep=frozenset({"agent:main:3"}))
        self.assertEqual(self.do(self.store.surplus(retention)).sessions, 26)
        self.assertEqual(self.do(self.store.prune(retention)).sessions, 26)
        left = [row.session_key.removeprefix("agent:main:") for row in self.listed()]
        self.assertEqual(left, ["29", "28", "27", "3", "openai:1"])

    def test_of_too_many_those_of_responses_go_first(self):
        keys = ["chat", "openai-response:1", "openai-response:2", "openai-response:3", "new"]
        for number, key in enumerate(keys):
            self.do(self.store.commit(turn(f"{number}", f"agent:main:{key}", ended_at=float(number))))
        retention = Retention(max_sessions=3, keep=frozenset({"agent:main:openai-response:1"}))
        self.assertEqual(self.do(self.store.prune(retention)).sessions, 2)
        left = {row.session_key.removeprefix("agent:main:") for row in self.listed()}
        self.assertEqual(left, {"chat", "openai-response:1", "new"})
        self.assertEqual(self.do(self.store.prune(Retention(max_sessions=1))).sessions, 2)
        self.assertEqual([row.session_key for row in self.listed()], ["agent:main:new"])

    def test_pruning_takes_old_archives(self):
        for number, at in enumerate((100.0, 200.0, 300.0)):
            self.do(self.store.commit(turn(f"run-{number}")))
            self.do(self.store.reset(SESSION, at))
        self.do(self.store.commit(turn("run-3")))
        self.assertEqual(self.do(self.store.surplus(Retention(archived_before=300.0))).archives, 2)
        self.assertEqual(self.pruned(archived_before=300.0).archives, 2)
        self.assertEqual(self.pruned(archived_before=300.0).archives, 0)
        self.assertEqual(len(self.texts()), 2)
        self.assertEqual(self.pruned(archived_before=301.0).archives, 1)
        self.assertEqual(len(self.texts()), 2)

    def test_a_store_that_is_too_large_gives_up_archives_first_then_the_longest_unused(self):
        for number in range(6):
            texts = ["x" * 100_000] * 2
            key = f"agent:main:{number}"
            self.do(self.store.commit(turn(f"{number}", key, *texts, ended_at=float(number))))
        self.do(self.store.reset("agent:main:5", 10.0))
        full = self.pruned(max_bytes=10_000_000)
        self.assertEqual((full.archives, full.sessions), (0, 0))
        self.assertGreater(full.size_bytes, 1_200_000)

        pruned = self.pruned(max_bytes=1_200_000, target_bytes=1_100_000)
        self.assertEqual((pruned.archives, pruned.sessions), (1, 0))
        pruned = self.pruned(max_bytes=600_000, target_bytes=550_000, keep=frozenset({"agent:main:0"}))
        self.assertLess(pruned.size_bytes, 550_000)
        left = {row.session_key.removeprefix("agent:main:") for row in self.listed()}
        self.assertEqual(left, {"0", "4", "5"})

    def test_runs_that_nobody_works_on_any_more_end(self):
        for name in ("alive", "lost"):
            self.do(self.store.begin(run(name, status="running", ended_at=None)))
        self.do(self.store.begin(run("over")))
        self.assertEqual(self.pruned(running=frozenset({"alive"})).runs, 1)
        statuses = {each.run_id: (each.status, each.ended_at) for each in self.do(self.store.runs())}
        self.assertEqual(
            statuses,
            {"alive": ("running", None), "lost": ("interrupted", NOW), "over": ("finished", 101.5)},
        )

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
            lambda: store.conversation(SESSION),
            lambda: store.session(SESSION),
            lambda: store.find_session(label="x"),
            lambda: store.patch(SESSION, SessionPatch(), 1.0),
            lambda: store.reset(SESSION, 1.0),
            lambda: store.compact(SESSION, 1, 1.0),
            lambda: store.delete(SESSION),
            store.runs,
            lambda: store.recall("s", "k"),
            lambda: store.prune(Retention()),
            lambda: store.surplus(Retention()),
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
        return MemoryStore(now=lambda: NOW, claims=LIMITS)

    def restart(self) -> None:
        self.do(self.store.close())
        self.do(self.store.open())


class SqliteStoreTests(SessionStoreContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite3"
        super().setUp()

    def new_store(self) -> SessionStore:
        return SqliteStore(self.reactor, self.path, now=lambda: NOW, claims=LIMITS)
