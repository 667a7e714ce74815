from __future__ import annotations

import sqlite3
import threading
from collections.abc import Coroutine
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw_twisted.boundaries import Retention
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import StorageError
from openclaw_twisted.sessions.sqlite import SqliteStore
from tests.sessions.examples import SESSION, run, turn
from tests.sessions.threaded_clock import ThreadedClock

T = TypeVar("T")


class SqliteStoreCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = ThreadedClock()
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite3"
        self.threads = set(threading.enumerate())

    def do(self, work: Coroutine[Deferred[Any], Any, T] | Deferred[T]) -> T:
        return self.reactor.result_of(work)

    def store(self) -> SqliteStore:
        return SqliteStore(self.reactor, self.path)

    def opened(self) -> SqliteStore:
        store = self.store()
        self.do(store.open())
        self.addCleanup(lambda: self.do(store.close()))
        return store

    def on_writer(self, store: SqliteStore, statement: str) -> None:
        """Execute a statement on the store's own connection, the only way to its PRAGMAs."""
        assert store._state is not None
        self.do(store._state.writer.submit(lambda connection: connection.execute(statement) and None))

    def ask_outside(self, statement: str) -> object:
        """Return the first row, as another program sees it."""
        connection = sqlite3.connect(self.path)
        row = connection.execute(statement).fetchone()
        connection.close()
        return row

    def outside(self, statement: str, *values: object) -> None:
        """Execute a statement as another program would."""
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement, values)
        connection.close()


class LifeTests(SqliteStoreCase):
    def test_closing_ends_both_threads(self):
        store = self.opened()
        self.assertEqual(
            {thread.name for thread in set(threading.enumerate()) - self.threads},
            {"sessions-writer", "sessions-reader"},
        )
        self.do(store.close())
        self.assertEqual(set(threading.enumerate()), self.threads)

    def test_closing_waits_for_commits_under_way(self):
        store = self.opened()
        commits = [Deferred.fromCoroutine(store.commit(turn(f"run-{n}"))) for n in range(50)]
        self.do(store.close())
        for commit in commits:
            self.assertIsNone(self.successResultOf(commit))
        self.assertEqual(len(self.do(self.opened().history(SESSION))), 100)

    def test_a_second_store_is_refused_and_the_first_goes_on(self):
        first = self.opened()
        second = self.store()
        with self.assertRaises(StorageError) as caught:
            self.do(second.open())
        self.assertIn(str(self.path), caught.exception.message)
        self.do(second.close())
        self.do(first.commit(turn()))
        self.do(first.close())
        self.do(second.open())
        self.addCleanup(lambda: self.do(second.close()))
        self.assertEqual(len(self.do(second.history(SESSION))), 2)

    def test_a_place_that_cannot_be_used_is_refused(self):
        self.path.mkdir(parents=True)
        with self.assertRaises(StorageError) as caught:
            self.do(self.store().open())
        self.assertIn(f"{self.path} cannot be used: Is a directory", caught.exception.message)
        self.assertEqual(set(threading.enumerate()), self.threads)

    def test_cancelling_the_opening_leaves_neither_thread_nor_lock(self):
        for threads_started in (0, 1):
            store = self.store()
            opening = Deferred.fromCoroutine(store.open())
            for _ in range(threads_started):
                self.reactor.wait_for_one_call()
            opening.cancel()
            with self.assertRaises(CancelledError):
                self.do(opening)
            self.assertEqual(set(threading.enumerate()), self.threads)
            self.do(store.open())
            self.do(store.close())

    def test_opening_says_what_it_found(self):
        store = self.opened()
        self.do(store.begin(run(status="running")))
        self.do(store.close())
        with capturedLogs() as logged:
            self.opened()
        (event,) = logged
        self.assertEqual((event["path"], event["version"], event["interrupted"]), (str(self.path), 3, 1))

    def test_a_damaged_file_is_set_aside_and_said_so(self):
        self.path.parent.mkdir()
        self.path.write_bytes(b"not a database" * 1000)
        with capturedLogs() as logged:
            store = self.opened()
        self.assertEqual(Path(logged[0]["set_aside"]).read_bytes(), b"not a database" * 1000)
        self.assertEqual(logged[0]["path"], str(self.path))
        self.do(store.commit(turn()))


class GroupCommitTests(SqliteStoreCase):
    def test_commits_that_come_together_share_transactions_and_wake_ups(self):
        store = self.opened()
        statements: list[str] = []
        at_work, go_on = threading.Event(), threading.Event()

        def keep_busy(connection: Connection) -> None:
            connection.set_trace_callback(statements.append)
            at_work.set()
            go_on.wait()

        assert store._state is not None
        busy = store._state.writer.submit(keep_busy)
        at_work.wait()
        commits = [Deferred.fromCoroutine(store.commit(turn(f"run-{n}"))) for n in range(600)]
        self.reactor.wakeups = 0
        go_on.set()
        self.do(gatherResults([busy, *commits]))
        self.assertEqual(statements.count("COMMIT"), 3)  # of what kept it busy, of 512 commits, of the rest
        self.assertEqual(self.reactor.wakeups, 3)
        self.assertEqual(len(self.do(store.history(SESSION, 2000))), 1200)

    def test_commits_get_their_turn_while_old_sessions_are_pruned(self):
        store = self.opened()
        old = [turn(f"run-{n}", f"agent:main:openai:{n}") for n in range(350)]
        self.do(gatherResults([Deferred.fromCoroutine(store.commit(each)) for each in old]))
        ended: list[str] = []
        pruning = Deferred.fromCoroutine(store.prune(Retention(stateless_before=1000.0)))
        pruning.addCallback(lambda count: ended.append(f"pruned {count.stateless}"))
        commit = Deferred.fromCoroutine(store.commit(turn("run-new")))
        commit.addCallback(lambda _: ended.append("committed"))
        both: list[Deferred[Any]] = [pruning, commit]
        self.do(gatherResults(both))
        self.assertEqual(ended, ["committed", "pruned 350"])


class FaultTests(SqliteStoreCase):
    def test_a_full_disk_fails_the_commit_whole_and_the_next_one_works(self):
        store = self.opened()
        self.do(store.commit(turn("run-1")))
        self.on_writer(store, "PRAGMA max_page_count = 1")  # as many as there are
        too_large = turn("run-2", SESSION, "fits", "x" * 100_000)
        with self.assertRaises(StorageError) as caught:
            self.do(store.commit(too_large))
        self.assertIn(f"The disk that holds {self.path} is full", caught.exception.message)
        self.assertEqual(len(self.do(store.history(SESSION))), 2)
        self.assertIsNone(self.do(store.run("run-2")))
        (row,) = self.do(store.sessions()).rows
        self.assertEqual(row.message_count, 2)

        self.on_writer(store, "PRAGMA max_page_count = 1000000")
        self.do(store.commit(too_large))
        self.assertEqual([stored.seq for stored in self.do(store.history(SESSION))], [1, 2, 3, 4])

    def test_a_full_disk_fails_only_the_commits_that_do_not_fit(self):
        store = self.opened()
        self.on_writer(store, "PRAGMA max_page_count = 1")
        commits = [
            Deferred.fromCoroutine(store.commit(each))
            for each in (turn("a"), turn("b", SESSION, "x" * 100_000), turn("c"))
        ]
        outcomes = self.do(DeferredList(commits, consumeErrors=True))
        self.assertEqual([success for success, _ in outcomes], [True, False, True])

    def test_notes_that_do_not_fit_are_counted_in_the_log(self):
        store = self.opened()
        self.on_writer(store, "PRAGMA max_page_count = 1")
        for n in range(3):
            store.note(turn(f"run-{n}", SESSION, "x" * 100_000))
        with capturedLogs() as logged:
            self.reactor.advance(1)
            self.do(store.begin(run("fits")))
        (event,) = (each for each in logged if "count" in each)
        self.assertEqual((event["count"], event["reason"]), (3, "database or disk is full"))

    def test_a_message_that_is_damaged_is_left_out_and_said_so(self):
        store = self.opened()
        for damage in (b'{"role": "us', b'{"role": "poet"}', b'{"role":"user","content":"\xff"}'):
            key = repr(damage)
            self.do(store.commit(turn(key, key, "one", "two", "three")))
            self.outside("UPDATE messages SET body = CAST(? AS TEXT) WHERE seq = 2", damage)
            with capturedLogs() as logged:
                history = self.do(store.history(key))
            self.assertEqual([stored.seq for stored in history], [1, 3])
            self.assertEqual([(event["seq"], event["session_key"]) for event in logged], [(2, key)])

    def test_a_run_whose_token_counts_are_damaged_is_found_without_them(self):
        store = self.opened()
        self.do(store.begin(run(usage=Usage(1, 2, 3))))
        self.outside("UPDATE runs SET usage = ?", '{"prompt_tokens": tw')
        self.assertEqual(self.do(store.run("run-1")), run(usage=None))

    def test_damage_deep_in_the_file_fails_what_it_touches_only(self):
        store = self.opened()
        self.do(store.commit(turn("run-1", "agent:main:a", *["x" * 3000] * 30)))
        self.do(store.commit(turn("run-2", "agent:main:b", "sound")))
        self.do(store.close())
        content = self.path.read_bytes()
        pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
        leaf = next(n for n, page in enumerate(pages) if page[0] == 0x0D and b"x" * 300 in page)
        pages[leaf] = bytes(4096)
        self.path.write_bytes(b"".join(pages))

        store = self.opened()
        with self.assertRaises(StorageError) as caught:
            self.do(store.history("agent:main:a"))
        self.assertIn(f"{self.path} is damaged", caught.exception.message)
        self.assertEqual(len(self.do(store.history("agent:main:b"))), 1)
        self.do(store.commit(turn("run-3", "agent:main:b", "goes on")))


class RealReactorTests(TestCase):
    timeout = 20

    async def test_it_works_on_the_reactor_of_the_process(self):
        from twisted.internet import reactor  # noqa: TID251  the one test that is about the real one

        real: Any = reactor
        path = Path(self.mktemp()) / "gateway.sqlite3"
        store = SqliteStore(real, path)
        await store.open()
        store.note(turn("run-n", "agent:main:openai:1"))
        commits = [Deferred.fromCoroutine(store.commit(turn(f"run-{n}"))) for n in range(50)]
        await gatherResults(commits)
        self.assertEqual(len(await store.history(SESSION, 80)), 80)
        await store.close()
        await store.open()
        self.assertEqual(await store.run("run-n"), run("run-n", "agent:main:openai:1"))
        await store.close()
