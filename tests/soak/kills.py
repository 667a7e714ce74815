"""Kill the gateway again and again while people write to it: `python -m tests.soak.kills [KILLS] [SEED]`.

Eight writers, over HTTP, SSE and WebSocket, each with a session of its own, say one numbered thing after the
other. After some of them were acknowledged, at a moment that the seed decides, the process gets SIGKILL and
a new one starts on the same state. A writer that was cut off does not say the same thing again, so everything
can be told apart afterwards. In the end the database has to hold

- every question that was acknowledged, once, with its whole answer right behind it;
- none twice, acknowledged or not, and each session's in the order in which they were said;
- no run that is still under way.
"""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers

from openclaw_twisted.cli.client import connected
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.target import Credential, Target
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.content import Message, text_of
from openclaw_twisted.sse import DONE
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port

__all__ = ["Outcome", "Writers", "echoing", "kill_again_and_again", "look"]

WRITERS = 8
MAX_ACKNOWLEDGED_PER_LIFE = 40
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
GONE = (ConnectError, ResponseFailed, ResponseNeverReceived, CommandError, CancelledError)


class Outcome(NamedTuple):
    """What came of it: how many kills and acknowledged questions, what is wrong, and the start times (s)."""

    kills: int
    acknowledged: int
    stored: int
    faults: tuple[str, ...]
    ready_seconds: tuple[float, ...]


class _Echo(Protocol):
    """A provider that repeats the last question, in three pieces with a moment between them."""

    transport: Any

    def __init__(self, reactor: Any, moments: random.Random) -> None:
        self._reactor = reactor
        self._moments = moments
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._received = b""
        question = json.loads(body)["messages"][-1]["content"]
        deltas: list[dict[str, Any]] = [{"content": "echo "}, {"content": question}]
        events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
        pieces[-1] += DONE
        self.transport.write(SSE_HEAD)
        self._send(pieces)

    def _send(self, pieces: list[bytes]) -> None:
        if not pieces:
            self.transport.write(b"0\r\n\r\n")
        elif self.connected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(pieces[0]), pieces[0]))
            self._reactor.callLater(self._moments.random() * 0.01, self._send, pieces[1:])


def echoing(reactor: Any, moments: random.Random) -> Factory:
    """Return a provider that repeats the last question."""
    factory: Any = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda _address: _Echo(reactor, moments)
    echo: Factory = factory
    return echo


class Writers:
    """The writers: what they have said, and which of it was acknowledged."""

    def __init__(self, reactor: Any, port: int) -> None:
        self._reactor = reactor
        self._port = port
        self._pool = HTTPConnectionPool(reactor, persistent=False)
        self._client = HTTPClient(Agent(reactor, pool=self._pool))
        self._said = 0
        self._enough = 0
        self._wait: Deferred[None] | None = None
        self.acknowledged: dict[str, list[str]] = defaultdict(list)

    @property
    def count(self) -> int:
        """How many questions were acknowledged so far."""
        return sum(map(len, self.acknowledged.values()))

    def enough(self, more: int) -> Deferred[None]:
        """Wait until `more` further questions were acknowledged."""
        self._enough = self.count + more
        self._wait = Deferred()
        return self._wait

    def write(self) -> list[Deferred[None]]:
        """Start all writers; each ends when the gateway is gone."""
        ways = (self._plain, self._stream, self._over_websocket)
        return [
            Deferred.fromCoroutine(self._until_gone(ways[number % len(ways)], f"writer-{number}"))
            for number in range(WRITERS)
        ]

    async def _until_gone(self, way: Callable[[str], Awaitable[None]], name: str) -> None:
        with contextlib.suppress(*GONE):
            await way(name)

    def _question(self, name: str) -> str:
        self._said += 1
        return f"{name} says {self._said:06d}"

    def _acknowledge(self, name: str, question: str) -> None:
        self.acknowledged[name].append(question)
        if self._wait is not None and self.count >= self._enough:
            wait, self._wait = self._wait, None
            wait.callback(None)

    async def _plain(self, name: str) -> None:
        while True:
            question = self._question(name)
            answer = await self._post(name, question, stream=False)
            text = (await treq.json_content(answer))["choices"][0]["message"]["content"]
            assert text == f"echo {question}", text
            self._acknowledge(name, question)

    async def _stream(self, name: str) -> None:
        while True:
            question = self._question(name)
            answer = await self._post(name, question, stream=True)
            body = await treq.content(answer)
            if b'"finish_reason":"stop"' not in body or not body.endswith(DONE):
                return
            self._acknowledge(name, question)

    async def _over_websocket(self, name: str) -> None:
        target = Target(
            url=f"ws://127.0.0.1:{self._port}",
            host="127.0.0.1",
            port=self._port,
            credential=Credential("the test", token=Secret(TOKEN)),
        )
        async with connected(self._reactor, target, scopes=("operator.write",)) as session:
            while True:
                question = self._question(name)
                params = {"message": question, "sessionKey": name, "idempotencyKey": question}
                # The first response only says that the run was accepted, the second acknowledges it.
                await session.conversation.request("agent", params, accepted=lambda _payload: None)
                self._acknowledge(name, question)

    async def _post(self, name: str, question: str, *, stream: bool) -> Any:
        answer = await self._client.post(
            f"http://127.0.0.1:{self._port}/v1/chat/completions",
            json={"stream": stream, "messages": [{"role": "user", "content": question}]},
            headers=Headers({"authorization": [f"Bearer {TOKEN}"], "x-openclaw-session-key": [name]}),
        )
        assert answer.code == 200, await answer.text()
        return answer


async def kill_again_and_again(reactor: Any, folder: Path, *, kills: int, seed: int) -> Outcome:
    """Do it, and return what came of it."""
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    upstream = reactor.listenTCP(0, echoing(reactor, moments), interface="127.0.0.1")
    port = free_port()
    config = configuration(f"http://127.0.0.1:{upstream.getHost().port}/v1", port)
    writers = Writers(reactor, port)
    ready_seconds: list[float] = []
    try:
        for _ in range(kills):
            gateway = await _started(reactor, folder, config, ready_seconds)
            working = writers.write()
            await writers.enough(moments.randint(1, MAX_ACKNOWLEDGED_PER_LIFE))
            await deferLater(reactor, moments.random() * 0.02)  # any moment of what is under way then
            await gateway.stop("KILL")
            for each in working:
                await each
        await (await _started(reactor, folder, config, ready_seconds)).stop()
    finally:
        await maybeDeferred(upstream.stopListening)
    faults, stored = look(folder / "state" / "sessions.sqlite3", writers.acknowledged)
    return Outcome(kills, writers.count, stored, tuple(faults), tuple(ready_seconds))


async def _started(
    reactor: Any, folder: Path, config: dict[str, Any], ready_seconds: list[float]
) -> GatewayProcess:
    began = reactor.seconds()
    gateway = GatewayProcess(folder, config)
    await gateway.ready
    ready_seconds.append(reactor.seconds() - began)
    return gateway


def look(path: Path, acknowledged: dict[str, list[str]]) -> tuple[list[str], int]:
    """Return what is wrong with the database, and how many questions it holds."""
    faults, stored = [], 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for name, questions in acknowledged.items():
            rows = connection.execute(
                "SELECT seq, body, interrupted FROM messages WHERE session_key = ? ORDER BY seq",
                (f"agent:main:{name}",),
            ).fetchall()
            told = [(json_message(body), interrupted) for _seq, body, interrupted in rows]
            if [seq for seq, *_ in rows] != list(range(1, len(rows) + 1)):
                faults.append(f"{name}: a gap in the order")
            asked = [text_of(message) for message, _ in told if message.role == "user"]
            stored += len(asked)
            if any(first >= second for first, second in pairwise(asked)):
                faults.append(f"{name}: doubled or out of order")
            pairs = {
                text_of(question): (text_of(answer), interrupted)
                for (question, _), (answer, interrupted) in pairwise(told)
                if question.role == "user" and answer.role == "assistant"
            }
            faults += [
                f"{name}: lost {question!r}: {pairs.get(question)}"
                for question in questions
                if pairs.get(question) != (f"echo {question}", 0)
            ]
        (under_way,) = connection.execute(
            "SELECT count(*) FROM runs WHERE status IN ('queued', 'running')"
        ).fetchone()
        if under_way:
            faults.append(f"{under_way} runs are still under way")
    finally:
        connection.close()
    return faults, stored


def json_message(body: str) -> Message:
    """Return a stored message."""
    return msgspec.json.decode(body, type=Message)


async def main(reactor: Any, kills: str = "500", seed: str = "1") -> None:
    """Print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = await kill_again_and_again(reactor, Path(folder), kills=int(kills), seed=int(seed))
    slowest = sorted(outcome.ready_seconds)
    print(
        f"{outcome.kills} kills, {outcome.acknowledged} questions acknowledged, {outcome.stored} stored, "
        f"{len(outcome.faults)} faults; ready after {slowest[len(slowest) // 2]:.2f} s (median), "
        f"{slowest[-1]:.2f} s at the slowest"
    )
    for fault in outcome.faults:
        print(fault)
    if outcome.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
