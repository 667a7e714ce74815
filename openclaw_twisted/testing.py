"""Fakes for our tests and for yours: a listener that keeps what it hears, and a runner without a network.

Nothing here patches anything: each fake implements a boundary or is handed in where the real one would be.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from openclaw_twisted import __version__, session_key
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.addresses import HostRule, OriginRule, TrustedProxies
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.boundaries import Embedder, Listener, Provider, SessionStore
from openclaw_twisted.config.parse import parse
from openclaw_twisted.content import Message
from openclaw_twisted.events import RunEvent, TextDelta
from openclaw_twisted.http.admission import Admission
from openclaw_twisted.http.app import Application
from openclaw_twisted.http.chat_completions import ChatCompletions, limits_of
from openclaw_twisted.http.embeddings import EmbeddingsEndpoint
from openclaw_twisted.http.health import Ready
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.metrics import Scrape
from openclaw_twisted.http.public_addresses import IPAddress
from openclaw_twisted.http.routes import Endpoints, routes
from openclaw_twisted.metrics import Metrics
from openclaw_twisted.providers.scripted import Scripted
from openclaw_twisted.runs.lanes import Lanes
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.runner import Abilities, Runner, RunSummary
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.site import GatewaySite
from openclaw_twisted.sse import DONE, encode

__all__ = [
    "Collector",
    "FakeUpstream",
    "LoopbackDoor",
    "MemoryRuns",
    "UpstreamCall",
    "chunk",
    "real_reactor",
    "run_request",
    "stream_of",
    "user",
]

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Collector:
    """A listener that keeps the batches it hears."""

    def __init__(self) -> None:
        self.batches: list[tuple[RunEvent, ...]] = []

    @property
    def events(self) -> list[RunEvent]:
        """Every event, in order."""
        return [event for batch in self.batches for event in batch]

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Keep a batch."""
        self.batches.append(tuple(events))


class MemoryRuns:
    """A runner with its abilities in memory: a scripted provider, a memory store, a clock you advance.

    `clock` is for those who need real time with it, `observe` for those who count.
    """

    def __init__(  # noqa: PLR0913 - whatever a test may want to put in its place
        self,
        *scripts: Any,
        provider: Provider | None = None,
        store: SessionStore | None = None,
        keep_stateless: bool = True,
        system_prompt: str = "",
        clock: Any = None,
        observe: Callable[[RunSummary], object] = lambda _summary: None,
    ) -> None:
        self.clock = clock if clock is not None else Clock()
        self.provider = Scripted(*scripts)
        self.store = store if store is not None else MemoryStore()
        Deferred.fromCoroutine(self.store.open())
        self.prompt = system_prompt
        abilities = Abilities(
            provider=provider if provider is not None else self.provider,
            prompt=self._prompt,
            store=self.store,
            keep_stateless=keep_stateless,
        )
        self.runner = Runner(self.clock, abilities, lanes=Lanes(), now=self.clock.seconds, observe=observe)

    async def _prompt(self, _agent_id: str) -> str:
        return self.prompt


def user(text: str) -> Message:
    """Return a user message."""
    return Message(role="user", content=text)


def run_request(*messages: Message, key: str | None = None, **more: Any) -> RunRequest:
    """Return a request to agent `main`, stateless unless `key` names a session."""
    given: dict[str, Any] = {
        "run_id": str(uuid.uuid4()),
        "agent_id": "main",
        "session_key": session_key.parse(key, "main") if key else session_key.stateless("main"),
        "models": ("scripted/m",),
        "messages": messages or (user("hi"),),
    }
    return RunRequest(**given | more)


_fits: type[Listener] = Collector


class LoopbackDoor:
    """The HTTP door on a real loopback port, before a runner in memory.

    `settings` is a configuration as the file would hold it (a dict); the scripts are the answers.
    """

    TOKEN = "a-token-for-tests-only"  # noqa: S105 - it opens nothing but this

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *scripts: Any,
        provider: Provider | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        reactor = real_reactor()
        auth = {
            "gateway": {
                "auth": {"token": self.TOKEN},
                "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            }
        }
        defaults = {"agents": {"defaults": {"model": "scripted/m"}}}
        text = msgspec.json.encode(_merged(_merged(auth, defaults), settings or {})).decode()
        self.settings = parse(text, {}).settings
        self.failing: list[str] = []
        self.websockets = 0
        gateway = self.settings.gateway
        self.directory = Directory(
            self.settings.agents, state_dir=Path("/nonexistent"), home=Path("/nonexistent")
        )
        self.metrics = Metrics(agents=self.directory.ids, versions={"version": __version__})
        self.runs = MemoryRuns(*scripts, provider=provider, clock=reactor, observe=self.metrics.run_ended)
        rules = self._doorkeeping(reactor)
        endpoints = Endpoints(
            chat=self._chat(reactor),
            embeddings=EmbeddingsEndpoint(embedder),
            metrics=Scrape(self.metrics.registry),
            ready=Ready(lambda: self.failing, rules),
        )
        application = Application(routes(self.settings, self.directory, endpoints))
        self.routes = application.routes
        self._site = GatewaySite(
            http=application.resource,
            websocket=Resource(),
            admission=Admission(rules, application.matcher, application.routes),
            clock=reactor,
            settings=gateway,
            websockets=lambda: self.websockets,
            observe=self.metrics.http_answered,
        )
        self.metrics.watch(
            runs_running=lambda: self.runs.runner.running,
            runs_waiting=lambda: self.runs.runner.waiting,
            http_connections=lambda: self.connections,
            websocket_connections=lambda: self.websockets,
        )
        self._port: Any = reactor.listenTCP(0, self._site, interface="127.0.0.1")

    @property
    def connections(self) -> int:
        """How many HTTP connections are open."""
        return self._site.connections

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._port.getHost().port)

    def _chat(self, clock: IReactorTime) -> ChatCompletions:
        limits = self.settings.gateway.limits
        chat = self.settings.gateway.http.endpoints.chat_completions
        return ChatCompletions(
            runner=self.runs.runner,
            directory=self.directory,
            settings=self.settings.gateway,
            clock=clock,
            now=lambda: 1_700_000_000.5,
            timeout_seconds=self.settings.agents.defaults.timeout_seconds,
            images=ImageFetcher(clock, limits_of(chat), may_connect=self.may_connect),
            repeats=Repeats(
                clock,
                keep_seconds=limits.idempotency_seconds,
                max_kept=limits.max_idempotency_keys,
            ),
        )

    def may_connect(self, address: IPAddress) -> bool:
        """Allow images from this machine alone: a test has nowhere else to fetch from."""
        return address.is_loopback

    def _doorkeeping(self, clock: IReactorTime) -> Doorkeeping:
        gateway = self.settings.gateway
        proxies = TrustedProxies(gateway.trusted_proxies)
        return Doorkeeping(
            hosts=HostRule(gateway.http.allowed_hosts, machine_name="test-machine"),
            origins=OriginRule("allowedOrigins", gateway.http.endpoints.chat_completions.allowed_origins),
            proxies=proxies,
            gate=Gate(
                gateway.auth,
                FailureLimiter(gateway.auth.rate_limit, clock.seconds),
                trusted_proxies=proxies,
                observe=lambda error: self.metrics.login_failed(error.code or error.kind),
            ),
        )

    async def stop(self) -> None:
        """Give the port back and drop every connection."""
        await maybeDeferred(self._port.stopListening)
        await self._site.drop_connections()


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


class UpstreamCall(Protocol):
    """One connection to a `FakeUpstream` with the request that came over it.

    Answer it by hand: `send` writes raw bytes, `stream` begins an SSE answer, `event` adds to it,
    `end` completes it; `hang_up` closes and `reset` aborts the connection. `closed` fires when the
    gateway has closed it.
    """

    transport: Any

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self.closed: Deferred[None] = Deferred()
        self.headers: dict[str, str] = {}
        self.path = ""
        self.body: Any = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Gather a request; hand it over when it is whole."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        length = int(self.headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self.path = first.split(" ")[1]
        self.body = msgspec.json.decode(rest[:length]) if length else None
        self._buffer = rest[length:]
        self._upstream.called(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell that the connection is gone."""
        self._upstream.open.discard(self)
        closed, self.closed = self.closed, Deferred()
        closed.callback(None)

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.transport.write(data)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Write a whole answer."""
        told = {"content-length": str(len(body)), **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
        lines = [f"HTTP/1.1 {status} Whatever", *lines, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def stream(self, *events: bytes) -> None:
        """Begin an SSE answer."""
        self.send(SSE_HEAD)
        for event in events:
            self.event(event)

    def event(self, event: bytes) -> None:
        """Add to an SSE answer, in one HTTP chunk."""
        self.send(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def end(self) -> None:
        """Complete a chunked answer; the connection may be used again."""
        self.send(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Close the connection."""
        self.transport.loseConnection()

    def reset(self) -> None:
        """Abort the connection."""
        self.transport.abortConnection()


class FakeUpstream(Factory):
    """An OpenAI-compatible server on loopback that the test plays.

    Each call goes to `behaviour`, or without one to the queue `calls`.
    """

    def __init__(self, behaviour: Callable[[UpstreamCall], object] | None = None) -> None:
        self.behaviour = behaviour
        self.calls: DeferredQueue[UpstreamCall] = DeferredQueue()
        self.connections = 0
        self.open: set[UpstreamCall] = set()
        self._port: Any = None

    @property
    def base_url(self) -> str:
        """What goes into `models.providers.<id>.baseUrl`."""
        return f"http://127.0.0.1:{self._port.getHost().port}/v1"

    def listen(self, reactor: Any) -> None:
        """Take a free port on loopback."""
        self._port = reactor.listenTCP(0, self, interface="127.0.0.1")

    async def stop(self) -> None:
        """Give the port back and close what is open."""
        await maybeDeferred(self._port.stopListening)
        for call in tuple(self.open):
            closed = call.closed
            call.reset()
            await closed

    def buildProtocol(self, addr: Any) -> UpstreamCall:  # noqa: N802
        """Take a connection."""
        self.connections += 1
        call = UpstreamCall(self)
        self.open.add(call)
        return call

    def called(self, call: UpstreamCall) -> None:
        """Hand on a request that has arrived."""
        if self.behaviour is not None:
            self.behaviour(call)
        else:
            self.calls.put(call)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """Return one chat completion chunk as an SSE event."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return encode(msgspec.json.encode({"id": "chatcmpl-up", "choices": [choice], **more}))


def stream_of(*pieces: str, usage: tuple[int, int] = (3, 2)) -> list[bytes]:
    """Return the events of a whole streamed answer: each piece of text, the finish, the counts, the end."""
    prompt, completion = usage
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return [
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, "stop"),
        encode(msgspec.json.encode({"choices": [], "usage": counts})),
        DONE,
    ]


def real_reactor() -> Any:
    """Return the reactor that the tests run on, for those that use real sockets."""
    from twisted.internet import reactor  # noqa: TID251 - the one place where tests get it

    return reactor
