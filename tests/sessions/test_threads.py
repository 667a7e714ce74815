from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.sessions.threads import MAX_BATCH, ConnectionThread, Job, in_one_transaction, one_by_one
from tests.sessions.threaded_clock import ThreadedClock


def insert(value: object) -> Callable[[Connection], object]:
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (value,)).lastrowid


def half(connection: Connection) -> None:
    insert("half")(connection)
    raise ZeroDivisionError


def divide_by(divisor: int, connection: Connection) -> int:
    return 1 // divisor


class InOneTransactionTests(SynchronousTestCase):
    def setUp(self) -> None:
        path = Path(self.mktemp())
        self.connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self.addCleanup(self.connection.close)
        self.other = sqlite3.connect(path, timeout=0, isolation_level=None)
        self.addCleanup(self.other.close)
        self.connection.execute("CREATE TABLE t (value TEXT UNIQUE)")
        self.statements: list[str] = []
        self.connection.set_trace_callback(self.statements.append)

    def values(self) -> list[str]:
        return [value for (value,) in self.other.execute("SELECT value FROM t ORDER BY rowid")]

    def outcomes(self, *calls: Callable[[Connection], object]) -> list[object]:
        jobs = [Job(call) for call in calls]
        in_one_transaction(self.connection, jobs)
        return [job.outcome.type if isinstance(job.outcome, Failure) else job.outcome for job in jobs]

    def test_all_jobs_share_one_transaction(self):
        self.assertEqual(self.outcomes(insert("a"), insert("b"), insert("c")), [1, 2, 3])
        self.assertEqual(self.values(), ["a", "b", "c"])
        self.assertEqual(self.statements.count("COMMIT"), 1)

    def test_a_bad_job_fails_alone(self):
        self.assertEqual(
            self.outcomes(insert("a"), insert("a"), insert("b"), insert("\ud800"), insert("c")),
            [1, sqlite3.IntegrityError, 2, UnicodeEncodeError, 3],
        )
        self.assertEqual(self.values(), ["a", "b", "c"])

    def test_those_beside_a_bad_job_still_share_transactions(self):
        good = [insert(f"a{number}") for number in range(20)]
        jobs = (*good[:7], half, *good[7:], half)
        self.assertEqual(self.outcomes(*jobs).count(ZeroDivisionError), 2)
        self.assertEqual(self.values(), [f"a{number}" for number in range(20)])
        self.assertEqual(self.statements.count("COMMIT"), 2)

    def test_bad_jobs_alone(self):
        self.assertEqual(self.outcomes(*[half] * 600), [ZeroDivisionError] * 600)
        self.assertEqual(self.values(), [])

    def test_nothing_of_a_bad_job_is_kept(self):
        self.assertEqual(self.outcomes(half), [ZeroDivisionError])
        self.assertEqual(self.outcomes(insert("a"), half), [1, ZeroDivisionError])
        self.assertEqual(self.values(), ["a"])

    def test_a_job_that_ends_the_transaction_harms_no_other(self):
        def undo(connection: Connection) -> None:
            connection.execute("ROLLBACK")
            raise ZeroDivisionError

        self.assertEqual(self.outcomes(insert("a"), undo, insert("b")), [1, ZeroDivisionError, 2])
        self.assertEqual(self.values(), ["a", "b"])

    def test_all_jobs_fail_when_the_transaction_cannot_begin(self):
        self.other.execute("BEGIN IMMEDIATE")
        self.assertEqual(self.outcomes(insert("a"), insert("b")), [sqlite3.OperationalError] * 2)
        self.other.execute("ROLLBACK")
        self.assertEqual(self.outcomes(insert("c")), [1])
        self.assertEqual(self.values(), ["c"])

    def test_all_jobs_fail_when_the_transaction_cannot_be_committed(self):
        self.other.execute("BEGIN")
        self.values()  # a reader, which without WAL keeps the writer from committing
        self.assertEqual(self.outcomes(insert("a"), insert("b")), [sqlite3.OperationalError] * 2)
        self.assertFalse(self.connection.in_transaction)
        self.other.execute("COMMIT")
        self.assertEqual(self.outcomes(insert("c")), [1])
        self.assertEqual(self.values(), ["c"])

    def test_a_transaction_that_was_left_open_is_undone(self):
        self.connection.execute("BEGIN")
        insert("left")(self.connection)
        self.assertEqual(self.outcomes(insert("a")), [1])
        self.assertEqual(self.values(), ["a"])


class ConnectionThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = ThreadedClock()
        self.before = set(threading.enumerate())
        self.disconnected = threading.Event()
        self.batches: list[int] = []

    def thread(self, connect: Callable[[], Connection] | None = None) -> ConnectionThread:
        def work(connection: Connection, jobs: Sequence[Job]) -> None:
            self.batches.append(len(jobs))
            one_by_one(connection, jobs)

        def disconnect(connection: Connection) -> None:
            connection.close()
            self.disconnected.set()

        return ConnectionThread(
            self.reactor,
            "under-test",
            connect=connect or (lambda: sqlite3.connect(":memory:")),
            work=work,
            disconnect=disconnect,
        )

    def started(self) -> ConnectionThread:
        thread = self.thread()
        self.reactor.result_of(thread.start())
        return thread

    def assert_gone(self) -> None:
        self.assertEqual(set(threading.enumerate()), self.before)

    def test_a_call_is_made_on_the_thread(self):
        thread = self.started()
        name = self.reactor.result_of(thread.submit(lambda _: threading.current_thread().name))
        self.reactor.result_of(thread.stop())
        self.assertEqual(name, "under-test")

    def test_a_call_that_raises_fails_alone(self):
        thread = self.started()
        calls = [thread.submit(partial(divide_by, n)) for n in (1, 0, -1)]
        self.reactor.result_of(DeferredList(calls))
        self.reactor.result_of(thread.stop())
        self.assertEqual(self.successResultOf(calls[0]), 1)
        self.failureResultOf(calls[1], ZeroDivisionError)
        self.assertEqual(self.successResultOf(calls[2]), -1)

    def test_what_gathers_meanwhile_is_one_batch_and_one_wake_up(self):
        thread = self.started()
        go_on, at_work = threading.Event(), threading.Event()

        def wait(_: Connection) -> int:
            at_work.set()
            return go_on.wait()

        calls = [thread.submit(wait)]
        at_work.wait()
        calls += [thread.submit(partial(divide_by, 1)) for n in range(100)]
        self.reactor.wakeups = 0
        go_on.set()
        self.assertEqual(self.reactor.result_of(gatherResults(calls)), [True] + [1] * 100)
        self.assertEqual((self.batches, self.reactor.wakeups), ([1, 100], 2))
        self.reactor.result_of(thread.stop())

    def test_calls_that_are_left_together_are_one_batch_and_have_an_outcome_each(self):
        thread = self.started()
        calls = thread.submit_all([partial(divide_by, n) for n in (1, 0, -1)])
        first, second, third = self.reactor.result_of(calls)
        self.assertEqual((first, second.type, third), (1, ZeroDivisionError, -1))
        self.assertEqual(self.batches, [3])
        self.reactor.result_of(thread.stop())

    def test_a_batch_has_a_limit(self):
        thread = self.thread()
        calls = [thread.submit(lambda _: None) for _ in range(MAX_BATCH + 3)]
        self.reactor.result_of(thread.start())
        self.reactor.result_of(gatherResults(calls))
        self.assertEqual(self.batches, [MAX_BATCH, 3])
        self.reactor.result_of(thread.stop())

    def test_stopping_does_what_is_queued_and_ends_the_thread(self):
        thread = self.started()
        calls = [thread.submit(partial(divide_by, n)) for n in (1, -1)]
        self.reactor.result_of(thread.stop())
        self.assertEqual([self.successResultOf(call) for call in calls], [1, -1])
        self.assertTrue(self.disconnected.is_set())
        self.assert_gone()

    def test_a_thread_that_cannot_connect_ends(self):
        def connect() -> Connection:
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            self.reactor.result_of(self.thread(connect).start())
        self.assert_gone()

    def test_cancelling_the_start_ends_the_thread(self):
        go_on = threading.Event()

        def connect() -> Connection:
            go_on.wait()
            return sqlite3.connect(":memory:")

        start = Deferred.fromCoroutine(self.thread(connect).start())
        start.cancel()
        go_on.set()
        with self.assertRaises(CancelledError):
            self.reactor.result_of(start)
        self.assertTrue(self.disconnected.is_set())
        self.assert_gone()

    def test_cancelling_the_start_of_a_thread_that_cannot_connect(self):
        go_on = threading.Event()

        def connect() -> Connection:
            go_on.wait()
            raise ZeroDivisionError

        start = Deferred.fromCoroutine(self.thread(connect).start())
        start.cancel()
        go_on.set()
        with self.assertRaises(CancelledError):
            self.reactor.result_of(start)
        self.assert_gone()

    def test_cancelling_a_call_drops_its_outcome_only(self):
        thread = self.started()
        made: list[str] = []
        call = thread.submit(lambda _: made.append("made"))
        call.cancel()
        self.failureResultOf(call, CancelledError)
        self.reactor.result_of(thread.stop())
        self.assertEqual(made, ["made"])
