"""A process to be killed: `python commit_forever.py DATABASE LIFE` commits turns until then.

It prints `SESSION RUN` for every turn once its commit is acknowledged. Four callers commit at a time,
each to its own session, so that kills meet shared transactions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from openclaw_twisted.boundaries import RunRecord, TurnRecord
from openclaw_twisted.content import Message
from openclaw_twisted.sessions.sqlite import SqliteStore


async def main(reactor: Any, path: str, life: str) -> None:
    store = SqliteStore(reactor, Path(path))
    await store.open()
    callers = [_commit_forever(store, f"agent:main:{number}", life) for number in range(4)]
    await gatherResults([Deferred.fromCoroutine(caller) for caller in callers])


async def _commit_forever(store: SqliteStore, session_key: str, life: str) -> None:
    number = 0
    while True:
        number += 1
        run = RunRecord(
            run_id=f"{session_key}/{life}/{number}",
            session_key=session_key,
            agent_id="main",
            model="m-1",
            status="running",
            started_at=1.0,
        )
        await store.begin(run)
        messages = (Message(role="user", content=run.run_id), Message(role="assistant", content="x" * 500))
        await store.commit(TurnRecord(run=run, messages=messages))
        sys.stdout.write(f"{session_key} {run.run_id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    react(main, sys.argv[1:])
