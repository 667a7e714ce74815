"""Take the disk away from a gateway and give it back: `python -m tests.soak.bad_disks`. Needs root, strace.

The state lies on a tmpfs of 2 MB. Turns are asked, one after the other, until the disk is full; then there
is space again. After that strace lets system calls fail as they do on a disk that broke or that the kernel
made read-only: every fsync with EIO, every write with EROFS, with EDQUOT, and with EIO; and then no more.
Each time

- a turn that cannot be kept is refused with 503 `storage_unavailable`, and nothing of it is found later;
- `/readyz` answers 503 and names `disk`, and 200 soon after the trouble is over, in the same process;
- the next turn works.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from treq.client import HTTPClient
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.soak.stored import stored_turns

__all__ = ["BadDisk"]

SESSION = "agent:main:disk"
ANSWER = "Hello"
PATIENCE_SECONDS = 30.0
FILLER = "x" * 20_000
WRITES = "pwrite64,ftruncate"
FAILING = (("fsync,fdatasync", "EIO"), (WRITES, "EROFS"), (WRITES, "EDQUOT"), (WRITES, "EIO"))


class BadDisk:
    """A gateway whose state is on a file system of its own, and what was wrong with it."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.faults: list[str] = []
        self._reactor = reactor
        self._disk = folder / "disk"
        self._disk.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", self._disk)
        self._upstream = FakeUpstream(_answer)
        self._upstream.listen(reactor)
        self._port = free_port()
        config = configuration(self._upstream.base_url, self._port)
        config["gateway"]["reload"] = {"mode": "off"}
        config["logging"] = {"file": str(folder / "gateway.log")}
        self._client = HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
        self._gateway = GatewayProcess(self._disk, config)
        self._tracer: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._answered: list[tuple[str, str]] = []

    async def go_through(self) -> None:
        """Have all the trouble."""
        await self._gateway.ready
        await self._trouble("full", self._fill, self._make_space)
        for calls, error in FAILING:
            await self._trouble(f"{calls}: {error}", partial(self._fail, calls, error), self._end_strace)

    async def close(self) -> None:
        """Stop, compare what is kept with what was answered, and unmount."""
        if not self._gateway.ended.called:
            await self._gateway.stop()
        await self._upstream.stop()
        kept = stored_turns(self._gateway.state_dir / "sessions.sqlite3", SESSION)
        if kept != self._answered:
            self.faults.append(f"kept {len(kept)} turns, answered {len(self._answered)}")
        _run("umount", self._disk)

    async def _trouble(
        self, name: str, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        before = len(self.faults)
        self._expect("a turn before it", await self._turn(), HTTPStatus.OK)
        await begin()
        status, text = await self._turn()
        self._expect("a turn meanwhile", (status, text), HTTPStatus.SERVICE_UNAVAILABLE)
        self._expect("its code", (text.count("storage_unavailable"), text), 1)
        status, text = await self._get("/readyz")
        self._expect("/readyz", (status, text), HTTPStatus.SERVICE_UNAVAILABLE)
        self._expect("what it names", (json.loads(text).get("failing"), text), ["disk"])
        await end()
        began = self._reactor.seconds()
        while (await self._get("/readyz"))[0] != HTTPStatus.OK:
            if self._reactor.seconds() - began > PATIENCE_SECONDS:
                self.faults.append("it is not ready again")
                break
            await deferLater(self._reactor, 0.05)
        took = self._reactor.seconds() - began
        self._expect("a turn after it", await self._turn(), HTTPStatus.OK)
        self.faults[before:] = [f"{name}: {fault}" for fault in self.faults[before:]]
        print(f"{name}: ready again {took:.1f} s after it was over, {len(self.faults) - before} faults")

    def _expect(self, what: str, found: tuple[Any, str], expected: object) -> None:
        if found[0] != expected:
            self.faults.append(f"{what}: {found[0]} instead of {expected}: {found[1][:200]}")

    async def _turn(self, filler: str = "") -> tuple[int, str]:
        self._asked += 1
        question = f"question {self._asked:04d} {filler}"
        status, text = await self._ask("POST", "/v1/chat/completions", question)
        if status == HTTPStatus.OK:
            self._answered.append((question, ANSWER))
        return status, text

    async def _get(self, path: str) -> tuple[int, str]:
        return await self._ask("GET", path)

    async def _ask(self, method: str, path: str, question: str = "") -> tuple[int, str]:
        body = {"messages": [{"role": "user", "content": question}]} if question else None
        answer = await self._client.request(
            method,
            f"http://127.0.0.1:{self._port}{path}",
            json=body,
            headers=Headers({"authorization": [f"Bearer {TOKEN}"], "x-openclaw-session-key": [SESSION]}),
        )
        return answer.code, await answer.text()

    async def _fill(self) -> None:
        while (await self._turn(FILLER))[0] == HTTPStatus.OK:
            pass

    async def _make_space(self) -> None:
        _run("mount", "-o", "remount,size=8m", self._disk)

    async def _fail(self, calls: str, error: str) -> None:
        pid = str(self._gateway.process.pid)
        log = self._disk.parent / "strace.log"
        command = ["strace", "-f", "-p", pid, "-e", f"trace={calls}"]
        command += ["-e", f"inject={calls}:error={error}"]
        with log.open("wb") as out:
            self._tracer = subprocess.Popen(command, stderr=out)  # noqa: ASYNC220 - it returns at once
        while "attached" not in log.read_text():
            await deferLater(self._reactor, 0.01)

    async def _end_strace(self) -> None:
        assert self._tracer is not None
        self._tracer.terminate()
        while self._tracer.poll() is None:
            await deferLater(self._reactor, 0.01)


def _answer(call: UpstreamCall) -> None:
    call.stream(*stream_of("Hel", "lo"))
    call.end()


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


async def main(reactor: Any) -> None:
    """Print what came of it."""
    if os.geteuid() != 0 or shutil.which("strace") is None:
        raise SystemExit("this mounts a file system and traces a process: it needs root and strace")
    with tempfile.TemporaryDirectory() as folder:
        disk = BadDisk(reactor, Path(folder))
        try:
            await disk.go_through()
        finally:
            await disk.close()
    for fault in disk.faults:
        print(fault)
    raise SystemExit(bool(disk.faults))


if __name__ == "__main__":
    react(main, sys.argv[1:])
