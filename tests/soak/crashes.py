"""Kill the gateway at every system call of a turn: `python -m tests.soak.crashes`. Needs Linux and strace.

A turn, streamed, is asked of a gateway while strace watches one of its threads: first to learn which system
calls it makes, then to kill the whole process as the Nth `write` (`pwrite64`, `fdatasync`, ...) of that
thread begins. N is 1, then 2, and so on until the turn is over before that. After each crash a gateway starts
on the same state, and

- the same request with its idempotency key is answered from what was kept if the turn had been acknowledged;
  otherwise it is either answered so or told that its run was interrupted;
- another turn works.

In the end the session has to hold, in order, every turn that was ever answered, once and whole, and no other.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers

from openclaw_twisted.sse import DONE
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.soak.stored import stored_turns

__all__ = ["THREADS", "Crashes"]

THREADS = ("reactor", "sessions-writer", "sessions-reader")
"""The threads that take part in a turn, in the order in which they are started."""

ANSWER = "Hello"
SESSION = "agent:main:crash"
GONE = (ConnectError, ResponseFailed, ResponseNeverReceived)
AFTER_SECONDS = 0.05
"""What follows an answer may crash as well, and must not harm what was acknowledged."""


class Crashes:
    """A gateway that is killed and started again; `faults` says what was wrong, `counts` what happened."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._reactor = reactor
        self._folder = folder
        self._upstream = FakeUpstream(_answer)
        self._upstream.listen(reactor)
        self._port = free_port()
        self._config = configuration(self._upstream.base_url, self._port)
        self._config["gateway"]["reload"] = {"mode": "off"}
        self._client = HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
        self._gateway: GatewayProcess | None = None
        self._asked = 0
        self._answered: list[tuple[str, str]] = []

    async def at_every_call_of(self, thread: str) -> None:
        """Crash at each system call of a thread."""
        for call in await self._calls_of(thread):
            number = 1
            while await self._crash_at(thread, call, number):
                number += 1

    async def _calls_of(self, thread: str) -> list[str]:
        """Return the names of the system calls that a thread makes in a turn."""
        calls = self._folder / "calls"
        tracer = await self._traced(thread, "-o", str(calls))
        question = self._new_question()
        answered = _is_whole(*await self._ask(question))
        assert answered
        self._answered.append((question, ANSWER))
        tracer.terminate()
        await deferToThread(tracer.wait)
        return sorted(set(re.findall(r"^(\w+)\(", calls.read_text(), re.MULTILINE)))

    async def stop(self) -> None:
        """Stop the gateway and compare what is kept with what was answered."""
        await (await self._running()).stop()
        await self._upstream.stop()
        kept = stored_turns(self._folder / "state" / "sessions.sqlite3", SESSION)
        if kept != self._answered:
            lost = [turn for turn in self._answered if turn not in kept]
            self.faults.append(f"kept {len(kept)} turns, answered {len(self._answered)}; lost: {lost}")

    async def _running(self) -> GatewayProcess:
        if self._gateway is None or self._gateway.ended.called:
            began = self._reactor.seconds()
            self._gateway = GatewayProcess(self._folder, self._config)
            await self._gateway.ready
            self.counts["milliseconds to start"] += int((self._reactor.seconds() - began) * 1000)
            self.counts["starts"] += 1
        return self._gateway

    async def _crash_at(self, thread: str, call: str, number: int) -> bool:
        """Kill the gateway in a turn and look what is left; tell whether the turn came that far."""
        gateway = await self._running()
        inject = (
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=SIGKILL:when={number}",
        )
        tracer = await self._traced(thread, *inject)
        question, acknowledged = self._new_question(), False
        with contextlib.suppress(*GONE):
            acknowledged = _is_whole(*await self._ask(question))
        if acknowledged:
            await deferLater(self._reactor, AFTER_SECONDS)
            tracer.terminate()
        await deferToThread(tracer.wait)
        hit = not acknowledged or _is_gone(gateway)
        if hit:
            await gateway.ended
            self.counts[thread] += 1
            self.counts["after the answer"] += acknowledged
        found = await self._look(question, acknowledged=acknowledged)
        self.faults += [f"{thread}, {call} {number}: {fault}" for fault in found]
        return hit

    def _new_question(self) -> str:
        self._asked += 1
        return f"question {self._asked:04d}"

    async def _traced(self, thread: str, *options: str) -> subprocess.Popen[bytes]:
        """Attach strace to a thread, and wait until it has."""
        tid = _threads(await self._running())[THREADS.index(thread)]
        log = self._folder / "strace.log"
        with log.open("wb") as out:
            command = ["strace", *options, "-p", str(tid)]
            tracer = subprocess.Popen(command, stderr=out)  # noqa: ASYNC220 - it returns at once
        while "attached" not in log.read_text():
            await deferLater(self._reactor, 0.005)
        return tracer

    async def _look(self, question: str, *, acknowledged: bool) -> list[str]:
        await self._running()
        faults = []
        status, text = await self._ask(question)
        if _is_whole(status, text):
            self._answered.append((question, ANSWER))
        elif acknowledged:
            faults.append(f"acknowledged, and afterwards: {status} {text[:200]}")
        elif not (status == HTTPStatus.CONFLICT and "run_interrupted" in text):
            faults.append(f"neither answered nor interrupted: {status} {text[:200]}")
        another = self._new_question()
        status, text = await self._ask(another)
        if _is_whole(status, text):
            self._answered.append((another, ANSWER))
        else:
            faults.append(f"the turn after it: {status} {text[:200]}")
        return faults

    async def _ask(self, question: str) -> tuple[int, str]:
        headers = {
            "authorization": [f"Bearer {TOKEN}"],
            "x-openclaw-session-key": [SESSION],
            "idempotency-key": [question],
        }
        asking = self._client.post(
            f"http://127.0.0.1:{self._port}/v1/chat/completions",
            json={"stream": True, "messages": [{"role": "user", "content": question}]},
            headers=Headers(headers),
        )
        answer = await asking.addTimeout(20, self._reactor)
        reading: Deferred[str] = answer.text()
        return answer.code, await reading.addTimeout(20, self._reactor)


def _threads(gateway: GatewayProcess) -> list[int]:
    return sorted(int(task.name) for task in Path(f"/proc/{gateway.process.pid}/task").iterdir())


def _is_gone(gateway: GatewayProcess) -> bool:
    """Tell whether a process was killed, also when nobody has been told yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{gateway.process.pid}/status").read_text()
    except FileNotFoundError:
        return True


def _answer(call: UpstreamCall) -> None:
    call.stream(*stream_of("Hel", "lo"))
    call.end()


def _is_whole(status: int, text: str) -> bool:
    return status == HTTPStatus.OK and '"finish_reason":"stop"' in text and text.encode().endswith(DONE)


async def main(reactor: Any, *threads: str) -> None:
    """Print what came of it."""
    if shutil.which("strace") is None:
        raise SystemExit("strace is not there: apt install strace")
    with tempfile.TemporaryDirectory() as folder:
        crashes = Crashes(reactor, Path(folder))
        for thread in threads or THREADS:
            await crashes.at_every_call_of(thread)
            print(f"{thread}: {crashes.counts[thread]} crashes", flush=True)
        await crashes.stop()
    counts = crashes.counts
    crashed = sum(counts[thread] for thread in THREADS)
    print(
        f"{crashed} crashes, {counts['after the answer']} of them after the answer; "
        f"{len(crashes.faults)} faults; started in {counts['milliseconds to start'] // counts['starts']} ms"
    )
    for fault in crashes.faults:
        print(fault)
    raise SystemExit(bool(crashes.faults))


if __name__ == "__main__":
    react(main, sys.argv[1:])
