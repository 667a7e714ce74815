"""A client of the HTTP door: whole answers, and streams event by event, over real sockets."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.boundaries import Embedder, Provider, SessionStore
from openclaw_twisted.testing import LoopbackDoor, real_reactor

HELLO = {"model": "openclaw", "messages": [{"role": "user", "content": "hi"}]}
HELLO_RESPONSE = {"model": "openclaw", "input": "hi"}


def plain(headers: Headers) -> dict[str, str]:
    """Return each header's last value by its name in lower case."""
    return {name.decode().lower(): values[-1].decode() for name, values in headers.getAllRawHeaders()}


class Answer:
    """A whole answer."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        self.status = status
        self.headers = {
            name.decode().lower(): values[-1].decode() for name, values in headers.getAllRawHeaders()
        }
        self.text = text

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        return self.json["error"]


class Events(Protocol):
    """A streamed answer: its SSE events as they come, None at the end."""

    def __init__(self) -> None:
        self.queue: DeferredQueue[str | None] = DeferredQueue()
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        *events, self._buffer = self._buffer.split(b"\n\n")
        for event in events:
            self.queue.put(event.decode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.queue.put(None)

    @property
    def refusal(self) -> Any:
        """The error of an answer that turned out to be no stream."""
        return json.loads(self._buffer)["error"]

    async def rest(self) -> list[str]:
        events = []
        while (event := await self.queue.get()) is not None:
            events.append(event)
        return events


def data_of(event: str) -> Any:
    """Return the JSON of an SSE event."""
    assert event.startswith("data: "), event
    return json.loads(event.removeprefix("data: "))


def commented(event: str) -> tuple[str, Any]:
    """Return the comment in front of an SSE event, and the JSON of the event."""
    assert event.startswith(": "), event
    comment, *_, data = event.split("\n")
    return comment.removeprefix(": "), data_of(data)


def text_of(events: list[str]) -> str:
    """Return the text that a stream's events bring."""
    pieces = [data_of(event) for event in events if event != "data: [DONE]" and not event.startswith(":")]
    return "".join(
        choice["delta"].get("content") or "" for piece in pieces for choice in piece.get("choices", ())
    )


class DoorCase(TestCase):
    """A test with a gateway's HTTP door before scripted answers."""

    timeout = 10
    door: LoopbackDoor

    def setUp(self) -> None:
        self._pool = HTTPConnectionPool(real_reactor(), persistent=False)
        self._client = treq.client.HTTPClient(Agent(real_reactor(), pool=self._pool))

    def open(
        self,
        *scripts: Any,
        settings: dict[str, Any] | None = None,
        provider: Provider | None = None,
        embedder: Embedder | None = None,
        store: SessionStore | None = None,
    ) -> None:
        self.door = LoopbackDoor(settings, *scripts, provider=provider, embedder=embedder, store=store)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.door.stop()))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.door.port}{path}"

    def headers(self, more: dict[str, str] | None) -> Headers:
        """Return the usual headers and `more`; an empty value takes a header away."""
        usual = {"authorization": f"Bearer {self.door.TOKEN}", "content-type": "application/json"}
        return Headers({name: [value] for name, value in (usual | (more or {})).items() if value})

    async def ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, body: Any = None
    ) -> Answer:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        response = await self._client.request(
            method, self.url(path), headers=self.headers(headers), data=data, allow_redirects=False
        )
        text = await response.text("utf-8")
        await self.turn()
        return Answer(response.code, response.headers, text)

    async def chat(self, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        return await self.ask("POST", "/v1/chat/completions", headers=headers, body=HELLO | more)

    async def stream(self, headers: dict[str, str] | None = None, **more: Any) -> tuple[Any, Events]:
        return await self.events("/v1/chat/completions", HELLO | {"stream": True} | more, headers)

    async def respond(self, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        return await self.ask("POST", "/v1/responses", headers=headers, body=HELLO_RESPONSE | more)

    async def respond_stream(self, headers: dict[str, str] | None = None, **more: Any) -> tuple[Any, Events]:
        return await self.events("/v1/responses", HELLO_RESPONSE | {"stream": True} | more, headers)

    async def events(self, path: str, body: Any, headers: dict[str, str] | None) -> tuple[Any, Events]:
        """Ask for a stream; returns the response and its events."""
        response = await self._client.post(
            self.url(path), headers=self.headers(headers), data=json.dumps(body).encode(), unbuffered=True
        )
        events = Events()
        response.deliverBody(events)
        return response, events

    async def turn(self) -> None:
        """Let the reactor turn, so that what has been said is heard."""
        await deferLater(real_reactor(), 0)

    async def until(self, holds: Any) -> None:
        """Turn the reactor until `holds()`; the test's own time limit ends a wait in vain."""
        while not await maybeDeferred(holds):
            await deferLater(real_reactor(), 0.001)
