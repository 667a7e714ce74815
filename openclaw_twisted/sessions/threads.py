"""A SQLite connection on a thread of its own, fed through a queue and answering in batches.

The theory: SQLite blocks, so the reactor never touches it. Callers leave jobs in a queue. The thread
takes whatever waits there, does it as one batch, and wakes the reactor once for the whole batch. While
one batch is on its way to the disk the next one gathers, so many commits share one fsync when there
are many, and a lone commit waits for nobody. Jobs are done in the order in which they were left. Whoever has
several at once leaves them together: each lone one may wake the thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from sqlite3 import Connection
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

__all__ = ["MAX_BATCH", "ConnectionThread", "FromThreads", "Job", "in_one_transaction", "one_by_one"]

MAX_BATCH = 512

T = TypeVar("T")


class FromThreads(Protocol):
    """The part of a reactor that other threads may call."""

    def callFromThread(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:  # noqa: N802  Twisted's name
        """Call in the reactor's thread, soon."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """One call that wants the connection, and its outcome: what it returned, or its `Failure`."""

    call: Callable[[Connection], Any]
    outcome: Any = None

    def run(self, connection: Connection) -> bool:
        """Make the call, keep what came of it, and return whether it went well."""
        try:
            self.outcome = self.call(connection)
        except Exception:  # noqa: BLE001  whatever it is belongs to the job's caller, not to the thread
            self.outcome = Failure()
            return False
        return True


@dataclass(slots=True, eq=False)
class _Errand:
    """Jobs that were left together, and the Deferred that waits for the outcome of all of them."""

    jobs: Sequence[Job]
    done: Deferred[list[Any]]


class ConnectionThread:
    """Owns a connection and the thread that uses it; every method is called by the reactor's thread.

    `connect`, `work` and `disconnect` run on the thread. `work` gives every job of its batch an outcome.
    """

    def __init__(
        self,
        reactor: FromThreads,
        name: str,
        *,
        connect: Callable[[], Connection],
        work: Callable[[Connection, Sequence[Job]], None],
        disconnect: Callable[[Connection], None],
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._work = work
        self._disconnect = disconnect
        self._queue: SimpleQueue[_Errand | None] = SimpleQueue()
        self._started: Deferred[None] = Deferred()
        self._stopped: Deferred[None] = Deferred()
        # A daemon, so that a process that ends without `stop` does not hang; SQLite survives being killed.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def start(self) -> None:
        """Start the thread and wait until it is connected; raises what `connect` raised."""
        self._thread.start()
        try:
            await self._started
        except CancelledError:
            await self.stop()
            raise

    def submit(self, call: Callable[[Connection], T]) -> Deferred[T]:
        """Queue a call; the Deferred fires with its outcome. Cancelling drops the outcome, not the call."""
        return self.submit_all((call,)).addCallback(_only_one)

    def submit_all(self, calls: Sequence[Callable[[Connection], object]]) -> Deferred[list[Any]]:
        """Queue calls together; the Deferred fires with their outcomes, a `Failure` for each that failed."""
        done: Deferred[list[Any]] = Deferred()
        self._queue.put(_Errand([Job(call) for call in calls], done))
        return done

    def stop(self) -> Deferred[None]:
        """Do what is queued, disconnect and end the thread; the Deferred fires when it is gone."""
        self._queue.put(None)
        return self._stopped

    def _run(self) -> None:
        try:
            connection = self._connect()
        except Exception:  # noqa: BLE001  `start` raises it on the reactor's thread
            self._reactor.callFromThread(self._ended, Failure())
            return
        self._reactor.callFromThread(self._started.callback, None)
        going_on = True
        while going_on:
            batch, going_on = self._next_batch()
            if batch:
                self._work(connection, [job for errand in batch for job in errand.jobs])
                self._reactor.callFromThread(_answer, batch)
        try:
            self._disconnect(connection)
        finally:
            self._reactor.callFromThread(self._ended, None)

    def _next_batch(self) -> tuple[list[_Errand], bool]:
        """Wait for an errand, take what else is there, and say whether to go on after it."""
        batch: list[_Errand] = []
        errand = self._queue.get()
        while errand is not None:
            batch.append(errand)
            if len(batch) == MAX_BATCH:
                return batch, True
            try:
                errand = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _ended(self, failure: Failure | None) -> None:
        self._thread.join()  # it has nothing left to do: this call was its last
        if failure is not None:
            self._started.errback(failure)
        self._stopped.callback(None)


def one_by_one(connection: Connection, jobs: Sequence[Job]) -> None:
    """Do each job by itself: the way of a reader."""
    for job in jobs:
        job.run(connection)


def in_one_transaction(connection: Connection, jobs: Sequence[Job]) -> None:
    """Do all jobs in one transaction: the way of a writer.

    When a job fails, the transaction is undone, and those before it, it alone, and those after it get one
    each, so that it fails alone (SQLite may undo a whole transaction by itself, so savepoints would not
    help). When a transaction cannot begin or be committed it is the disk's fault, and all of its jobs fail.
    """
    while jobs and (bad := _try_all(connection, jobs)) is not None and len(jobs) > 1:
        if bad > 0:
            in_one_transaction(connection, jobs[:bad])
        _try_all(connection, jobs[bad : bad + 1])
        jobs = jobs[bad + 1 :]


def _try_all(connection: Connection, jobs: Sequence[Job]) -> int | None:
    """Do the jobs in a transaction; return which one keeps it from being committed, if one does."""
    _undo(connection)  # nothing to undo, unless the last ROLLBACK failed
    try:
        connection.execute("BEGIN IMMEDIATE")
        bad = next((at for at, job in enumerate(jobs) if not job.run(connection)), None)
        if bad is None:
            connection.execute("COMMIT")
            return None
    except Exception:  # noqa: BLE001  it belongs to the jobs' callers, not to the thread
        failure = Failure()
        for job in jobs:
            job.outcome = failure
        bad = None
    _undo(connection)
    return bad


def _undo(connection: Connection) -> None:
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _answer(errands: Sequence[_Errand]) -> None:
    for errand in errands:
        errand.done.callback([job.outcome for job in errand.jobs])


def _only_one(outcomes: list[Any]) -> Any:
    (outcome,) = outcomes
    return outcome
