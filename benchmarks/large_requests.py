"""What one client's large requests do to the others: `python benchmarks/large_requests.py`.

Each kind of large request is made ten times, one after the other. It prints how often the gateway's event
loop was late meanwhile, by its own metric (`openclaw_event_loop_lag_seconds`, tried ten times a second):
whatever blocks the loop holds everybody up. Linux.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from processes import TOKEN, gateway
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from openclaw_twisted.testing import stream_of

TIMES = 10
SETTLE_SECONDS = 1.0
EDGES = (0.025, 0.05, 0.1, 0.25, 0.5)
MILLION = 1_000_000
HISTORY = 2000
ANSWER = b"".join(
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        *(b"%x\r\n%b\r\n" % (len(event), event) for event in stream_of("ok")),
        b"0\r\n\r\n",
    ]
)

_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_BUCKET = re.compile(r'openclaw_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')


class Upstream(Protocol):
    """A provider that counts what it is sent, and answers when that is all."""

    transport: Any

    def __init__(self) -> None:
        self._left: int | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Count, without keeping: a copy of each piece would be slower than what is measured."""
        if self._left is None:
            head, _, data = data.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            assert found is not None
            self._left = int(found[1])
        self._left -= len(data)
        if self._left <= 0:
            self._left = None
            self.transport.write(ANSWER)


class Sender(Protocol):
    """Sends one request and waits for the whole answer."""

    transport: Any

    def __init__(self) -> None:
        self.answered: Deferred[str] = Deferred()
        self._received = b""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Collect the answer."""
        self._received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Hand the answer over."""
        self.answered.callback(self._received.decode() or "no answer")


def _chat(messages: list[dict[str, Any]], **headers: str) -> bytes:
    body = json.dumps({"model": "openclaw", "messages": messages}).encode()
    return _head(len(body), **headers) + body


def _head(length: int, **headers: str) -> bytes:
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: localhost\r\nauthorization: Bearer {TOKEN}\r\nconnection: close",
        f"content-type: application/json\r\ncontent-length: {length}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _turns(count: int, text: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[at % 2], "content": f"{at} {text}"} for at in range(count + 1)]


def _requests() -> Iterator[tuple[str, bytes]]:
    question = {"role": "user", "content": "hi"}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    output = {"role": "tool", "tool_call_id": "c", "content": "line of output\n" * (MILLION // 2)}
    yield "nothing much", _chat([question])
    yield "a body of 50 MB", _head(50 * MILLION) + b" " * (50 * MILLION)
    yield "a message of 19 MB", _chat([{"role": "user", "content": "x" * 19 * MILLION}])
    yield "a tool's output of 7 MB", _chat([question, {"role": "assistant", "tool_calls": [call]}, output])
    yield "a history of 10,000 messages", _chat(_turns(10_000, "some text " * 20))
    yield "a history of 100,000 messages", _chat(_turns(100_000, "some text"))
    yield (
        "a session that begins with 2,000",
        _chat(_turns(HISTORY, "text " * 200), x_openclaw_session_key="long"),
    )
    yield "and goes on", _chat([question], x_openclaw_session_key="long")


async def main(reactor: Any) -> None:
    """Print the table."""
    listening = reactor.listenTCP(0, Factory.forProtocol(Upstream), interface="127.0.0.1")
    async with gateway(reactor, listening.getHost().port) as (port, _):
        await _measure(reactor, TCP4ClientEndpoint(reactor, "127.0.0.1", port))
    await listening.stopListening()


async def _measure(reactor: Any, endpoint: TCP4ClientEndpoint) -> None:
    print(
        f"{'beside':36}{'requests/s':>11}{'tries':>7}" + "".join(f"{f'> {edge:g} s':>10}" for edge in EDGES)
    )
    for name, request in _requests():
        before, began = await _lags(endpoint), reactor.seconds()
        status = ""
        for _ in range(TIMES):
            status = (await _send(endpoint, request)).partition("\r\n")[0]
        rate = TIMES / (reactor.seconds() - began)
        await deferLater(reactor, SETTLE_SECONDS)
        after = await _lags(endpoint)
        new = {edge: after[edge] - before[edge] for edge in after}
        late = "".join(f"{new['+Inf'] - new[str(edge)]:10.0f}" for edge in EDGES)
        print(f"{name:36}{rate:11.1f}{new['+Inf']:7.0f}{late}  {status}")


async def _send(endpoint: TCP4ClientEndpoint, request: bytes) -> str:
    sender: Sender = await connectProtocol(endpoint, Sender())
    sender.transport.write(request)
    return await sender.answered


async def _lags(endpoint: TCP4ClientEndpoint) -> dict[str, float]:
    """Return how many tries were late by no more than each edge, in seconds."""
    told = await _send(
        endpoint,
        f"GET /metrics HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode(),
    )
    return {edge: float(count) for edge, count in _BUCKET.findall(told)}


if __name__ == "__main__":
    react(main)
