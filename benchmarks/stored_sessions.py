"""What stored sessions cost: `python benchmarks/stored_sessions.py [SESSIONS]`. Linux, two cores.

A gateway is asked by so many users (10,000 unless told otherwise), each for the first time, and then in turn
with a gateway whose store was empty. It prints the CPU of a turn all the while, what the process holds, and
the CPU of three starts of each with what is in its store.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from load import Load, Peer
from processes import TOKEN, Child, cpu_seconds, free_port, gateway_command, resident_bytes
from twisted.internet.task import react

SESSIONS = 10_000
PER_LINE = 2000
ROUNDS = 3
STARTS = 3
CONCURRENCY = 16
GATEWAY_CORE, OTHER_CORE = 1, 0
KEEP_ALL = {"maintenance": {"maxEntries": 1_000_000}}
MIB = 1024 * 1024

_users = count()


class Asked:
    """A gateway, and what first turns cost it."""

    def __init__(self, reactor: Any, port: int, pid: int) -> None:
        self.pid = pid
        self._peer = Peer("127.0.0.1", port, TOKEN, "openclaw")
        self._load = Load(reactor, self._peer)

    async def ask(self, name: str) -> None:
        """Let new users ask, and print what that took."""
        before = cpu_seconds(self.pid)
        tally = await self._load.closed(CONCURRENCY, 60.0, self._request, at_most=PER_LINE)
        each = (cpu_seconds(self.pid) - before) / tally.answers * 1000
        held = resident_bytes(self.pid) / MIB
        print(f"{name:32}{each:8.2f} ms of CPU a turn{tally.errors:8} errors{held:8.1f} MiB", flush=True)

    def _request(self, _number: int) -> bytes:
        question = {"role": "user", "content": "Hi there, what is new?"}
        return self._peer.request({"user": f"user-{next(_users)}", "messages": [question]})


async def main(reactor: Any, sessions: str = str(SESSIONS)) -> None:
    """Print what turns and starts cost."""
    os.sched_setaffinity(0, {OTHER_CORE})
    command = [sys.executable, str(Path(__file__).with_name("mock_upstream.py"))]
    mock = Child(reactor, command, core=OTHER_CORE, word="\n", environ=dict(os.environ))  # noqa: TID251 - a program of its own
    upstream_port = int(await mock.ready)
    with tempfile.TemporaryDirectory() as filled, tempfile.TemporaryDirectory() as empty:
        async with _gateway(reactor, Path(filled), upstream_port) as old:
            for stored in range(0, int(sessions), PER_LINE):
                await old.ask(f"with {stored} sessions stored")
            async with _gateway(reactor, Path(empty), upstream_port) as young:
                for _ in range(ROUNDS):
                    await old.ask("with all of them")
                    await young.ask("with none at first")
        for folder, name in STARTS * (
            (filled, "all of them"),
            (empty, f"the {ROUNDS * PER_LINE} of the new one"),
        ):
            async with _gateway(reactor, Path(folder), upstream_port) as again:
                print(f"ready with {name} after {cpu_seconds(again.pid):.2f} s of CPU", flush=True)
    await mock.stop()


@asynccontextmanager
async def _gateway(reactor: Any, folder: Path, upstream_port: int) -> AsyncIterator[Asked]:
    port = free_port()
    command, environ = gateway_command(folder, port=port, upstream_port=upstream_port, session=KEEP_ALL)
    gateway = Child(reactor, command, core=GATEWAY_CORE, word="curl", environ=environ)
    await gateway.ready
    try:
        yield Asked(reactor, port, gateway.pid)
    finally:
        await gateway.stop()


if __name__ == "__main__":
    react(main, sys.argv[1:])
