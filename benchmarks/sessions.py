"""What the SQLite store can do on this machine: `python benchmarks/sessions.py [DIRECTORY]`.

DIRECTORY is where the database is made (and removed again); the disk that holds it decides the figures.
CPU is that of the whole process, per commit; each commit is one turn of two messages of 500 characters.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from openclaw_twisted.boundaries import Retention, RunRecord, SessionQuery, TurnRecord
from openclaw_twisted.content import Message
from openclaw_twisted.sessions.sqlite import SqliteStore

COMMITS = 4000
READS = 2000
STORED_SESSIONS = 10_000
LONG_SESSION = 5000
TURNS = 1000
CONTEXT_TOKENS = 8000

_MESSAGES = (Message(role="user", content="q" * 500), Message(role="assistant", content="a" * 500))


async def main(reactor: Any, directory: str | None = None) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        path = Path(folder) / "sessions.sqlite3"
        store = SqliteStore(reactor, path)
        await store.open()
        print(f"{'':26}{'per second':>12}{'p50 us':>10}{'p99 us':>10}{'CPU us':>10}")
        for concurrency in (1, 16, 64):
            await _measure(
                f"commit, {concurrency} at a time", lambda n: store.commit(_turn(n)), COMMITS, concurrency
            )
        for concurrency in (1, 16):
            await _measure(
                f"history(50), {concurrency} at a time",
                lambda _: store.history(_key(1), 50),
                READS,
                concurrency,
            )
        await _measure("sessions(100)", lambda _: store.sessions(SessionQuery(limit=100)), READS // 10, 1)
        await _notes(store)
        await _turns("turns while there is little", store)
        await _fill(store)
        await _turns(f"turns beside {STORED_SESSIONS} sessions", store)
        listing = SessionQuery(limit=100, stateless=False)
        await _measure("list 100 of them", lambda _: store.sessions(listing), 100, 1)
        search = SessionQuery(limit=100, search="zzz")
        await _measure("search them", lambda _: store.sessions(search), 50, 1)
        await _lengthen(store)
        await _turns(f"turns behind {LONG_SESSION} messages", store, key=_key(0, "long:"))
        await store.close()
        began = time.perf_counter()
        await store.open()
        print(f"open with {STORED_SESSIONS} sessions: {(time.perf_counter() - began) * 1000:.1f} ms")
        began = time.perf_counter()
        deleted = await store.prune(Retention(stateless_before=time.time() + 1))
        print(f"prune {deleted.stateless} stateless sessions: {(time.perf_counter() - began) * 1000:.0f} ms")
        await store.close()


async def _measure(name: str, call: Callable[[int], Awaitable[object]], count: int, concurrency: int) -> None:
    left = iter(range(count))
    latencies: list[float] = []

    async def one_caller() -> None:
        for n in left:
            began = time.perf_counter()
            await call(n)
            latencies.append((time.perf_counter() - began) * 1e6)

    began, cpu = time.perf_counter(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(one_caller()) for _ in range(concurrency)])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    p99 = quantiles(latencies, n=100)[98]
    print(f"{name:26}{count / seconds:12.0f}{median(latencies):10.0f}{p99:10.0f}{cpu / count * 1e6:10.1f}")


async def _turns(name: str, store: SqliteStore, key: str | None = None) -> None:
    """Measure what the store does for one turn: read what fits, note the beginning, keep the turn."""
    print(name)

    async def turn(n: int) -> None:
        record = _turn(n, key=key)
        await store.conversation(record.run.session_key, max_tokens=CONTEXT_TOKENS)
        await store.begin(msgspec.structs.replace(record.run, status="running", ended_at=None))
        await store.commit(record)

    for concurrency in (1, 16):
        await _measure(f"  {concurrency} at a time", turn, TURNS, concurrency)


async def _lengthen(store: SqliteStore) -> None:
    turns = [_turn(n, key=_key(0, "long:")) for n in range(LONG_SESSION // 2)]
    await gatherResults([Deferred.fromCoroutine(store.commit(turn)) for turn in turns])


async def _notes(store: SqliteStore) -> None:
    turns = [_turn(n, "openai:") for n in range(COMMITS)]
    cpu = time.process_time()
    for turn in turns:
        store.note(turn)
    on_reactor = time.process_time() - cpu
    await store.close()
    total = time.process_time() - cpu
    await store.open()
    print(f"note: {on_reactor / COMMITS * 1e6:.1f} us CPU for the caller, {total / COMMITS * 1e6:.1f} in all")


async def _fill(store: SqliteStore) -> None:
    turns = [_turn(n, "many:", sessions=STORED_SESSIONS) for n in range(STORED_SESSIONS)]
    await gatherResults([Deferred.fromCoroutine(store.commit(turn)) for turn in turns])


def _key(n: int, prefix: str = "") -> str:
    return f"agent:main:{prefix}{n}"


def _turn(n: int, prefix: str = "", sessions: int = 100, key: str | None = None) -> TurnRecord:
    now = time.time()
    run = RunRecord(
        run_id=f"chatcmpl_{prefix}{n}_{time.perf_counter_ns()}",
        session_key=key or _key(n if prefix else n % sessions, prefix),
        agent_id="main",
        model="openai/gpt-5",
        status="finished",
        started_at=now,
        ended_at=now,
        finish_reason="stop",
    )
    return TurnRecord(run=run, messages=_MESSAGES)


if __name__ == "__main__":
    react(main, sys.argv[1:])
