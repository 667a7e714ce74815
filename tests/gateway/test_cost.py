"""What a request costs in calls: a count that no busy machine changes, against a budget with room to spare.

It is no measure of time (benchmarks/gateway.py is), but it shows at once when somebody puts a layer, a copy
or a look-up into the path that every request takes. When a change is worth more calls, the budget is raised
with the reason in the commit. The counts include the calls of the client and of the provider in this test.
"""

from __future__ import annotations

import gc
import json
import sys
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, Self

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from openclaw_twisted.config.parse import parse
from openclaw_twisted.service import Gateway
from openclaw_twisted.testing import real_reactor
from tests.gateway.process import TOKEN, configuration, free_port

REQUESTS = 40
EVENTS = 200
CALLS_PER_REQUEST = 1650
CALLS_PER_EVENT = 197
CALLS_PER_EVENT_TOGETHER = 34
CALLS_PER_STORED_MESSAGE = 7
TURNS_BEFORE = 40

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(payload: bytes) -> bytes:
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


WORD = event(b'{"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}')
TAIL = (
    event(b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    + event(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}')
    + event(b"[DONE]")
    + b"0\r\n\r\n"
)


class Mock(Protocol):
    """Answers at once; `alone` sends each word when the gateway has passed on the one before."""

    words = 2
    alone = False
    latest: Mock

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        Mock.latest = self
        if self.alone:
            self.transport.write(HEAD + WORD)
            self.left = self.words - 1
        else:
            self.transport.write(HEAD + WORD * self.words + TAIL)

    def next_word(self) -> None:
        assert self.transport is not None
        self.transport.write(WORD if self.left else TAIL)
        self.left -= 1


class Client(Protocol):
    """Counts the events of an answer; `done` fires at its end."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self.events = 0
        self.heard: Any = lambda: None
        self._tail = b""

    def dataReceived(self, data: bytes) -> None:
        self.events += data.count(b"data: ")
        self._tail = self._tail[-8:] + data
        if self._tail.endswith(b"0\r\n\r\n") or b"completion_tokens" in data:
            done, self.done = self.done, Deferred()
            done.callback(None)
        elif b"word" in data:
            self.heard()


class Count:
    """Counts calls, of Python and of C functions, while it is entered."""

    calls = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _heard(self, _frame: FrameType, what: str, _argument: object) -> None:
        if what in {"call", "c_call"}:
            self.calls += 1


class Garbage:
    """Counts what is left, while it is entered, that only the garbage collector finds to be unused."""

    left = 0

    def __enter__(self) -> Self:
        gc.collect()
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        self.left = gc.collect()
        gc.enable()


class Cost(TestCase):
    timeout = 30

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.reactor: Any = real_reactor()
        upstream: Any = self.reactor.listenTCP(0, Factory.forProtocol(Mock), interface="127.0.0.1")
        self.addCleanup(upstream.stopListening)
        folder = Path(self.mktemp())
        folder.mkdir()  # noqa: ASYNC240 - before anything runs
        port = free_port()
        config = configuration(f"http://127.0.0.1:{upstream.getHost().port}/v1", port)
        gateway = Gateway(
            self.reactor,
            parse(json.dumps(config), {}),
            state_dir=folder,
            home=folder,
            out=StringIO(),
            leave=self.fail,
        )
        gateway.startService()
        self.addCleanup(lambda: maybeDeferred(gateway.stopService))
        await gateway.started()
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        self.client: Client = await connectProtocol(endpoint, Client())
        self.addCleanup(self._hang_up)
        self.patch(Mock, "alone", False)  # noqa: FBT003 - put back what a test sets
        self.patch(Mock, "words", 2)

    def _hang_up(self) -> None:
        assert self.client.transport is not None
        self.client.transport.loseConnection()

    async def ask(self, *, stream: bool, user: str | None = None) -> None:
        said = {"model": "openclaw", "stream": stream, "messages": [{"role": "user", "content": "x"}]}
        body = json.dumps(said if user is None else said | {"user": user})
        assert self.client.transport is not None
        done = self.client.done
        self.client.transport.write(
            (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )
        await done

    async def count(self, times: int, *, stream: bool, user: str | None = None) -> float:
        await self.ask(stream=stream, user=user)  # what is only done once is not counted
        with Count() as count:
            for _ in range(times):
                await self.ask(stream=stream, user=user)
        return count.calls / times

    async def test_a_plain_request(self) -> None:
        calls = await self.count(REQUESTS, stream=False)
        self.assertLess(calls, CALLS_PER_REQUEST)

    async def test_a_stored_message(self) -> None:
        short = await self.count(REQUESTS // 4, stream=False, user="short")
        for _ in range(TURNS_BEFORE):
            await self.ask(stream=False, user="long")
        long = await self.count(REQUESTS // 4, stream=False, user="long")
        self.assertLess((long - short) / (2 * TURNS_BEFORE), CALLS_PER_STORED_MESSAGE)

    async def test_a_request_leaves_no_garbage(self) -> None:
        # Without any the collector has nothing to do, however many requests there are.
        await self.ask(stream=False)
        with Garbage() as garbage:
            for at in range(REQUESTS):
                await self.ask(stream=at % 2 == 0)
        self.assertLess(garbage.left, REQUESTS)

    async def test_an_event_that_comes_alone(self) -> None:
        Mock.alone, Mock.words = True, EVENTS
        self.client.heard = lambda: Mock.latest.next_word()  # noqa: PLW0108 - the latest then
        calls = await self.count(1, stream=True)
        self.assertLess(calls / EVENTS, CALLS_PER_EVENT)

    async def test_events_that_come_together(self) -> None:
        Mock.words = EVENTS
        calls = await self.count(2, stream=True)
        self.assertLess(calls / EVENTS, CALLS_PER_EVENT_TOGETHER)
