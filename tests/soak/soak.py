"""Use the gateway for a while and see whether it grows: `python -m tests.soak.soak [MINUTES]`. Needs Linux.

Clients come and go over HTTP, SSE and WebSocket, at a pace that keeps the gateway at 60 % of one core. They
begin sessions and delete them, hang up in the middle of answers, send what is no JSON, knock with a wrong
token, and have a provider that fails now and then. Every few seconds the process is looked at: memory,
descriptors, threads, timers and Deferreds. After a quarter of the time a line is laid through the memory;
in the end, when all have left, nothing may be left of them.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.soak.census import PRELUDE, Census, census
from tests.ws.rig import connect_params
from tests.ws.socket_client import connect_client

__all__ = ["Outcome", "slope_per_hour", "soak"]

WORKERS = 8
LOAD = 0.6
WARM_UP = 0.25
JOBS_PER_SESSION = 8
SAMPLE_SECONDS = 5.0
REMEMBERED_SECONDS = 20
MEGABYTE = 1024 * 1024
MAX_GROWTH = {"descriptors": 2, "threads": 0, "timers": 2, "deferreds": 20}
"""What may be there more in the end than after the warm-up, when nobody is connected either time."""


class Outcome(NamedTuple):
    """What was done how often, what was seen meanwhile, and at rest after the warm-up and in the end."""

    done: Counter[str]
    samples: list[Census]
    rested: Census
    ended: Census

    @property
    def grown(self) -> dict[str, int]:
        """What there is more of at the end than it may be."""
        more = {name: getattr(self.ended, name) - getattr(self.rested, name) for name in MAX_GROWTH}
        return {name: count for name, count in more.items() if count > MAX_GROWTH[name]}


def slope_per_hour(samples: list[Census]) -> float:
    """Return by how many bytes an hour the memory grows: the slope of the least-squares line."""
    mean_at = sum(sample.at for sample in samples) / len(samples)
    mean_bytes = sum(sample.resident_bytes for sample in samples) / len(samples)
    above = sum((sample.at - mean_at) * (sample.resident_bytes - mean_bytes) for sample in samples)
    return 3600 * above / sum((sample.at - mean_at) ** 2 for sample in samples)


class _Leaver(Protocol):
    """A client that asks for a stream and is gone when it begins."""

    transport: Any

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        body = b'{"stream":true,"messages":[{"role":"user","content":"hold"}]}'
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def dataReceived(self, data: bytes) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class _Crowd:
    """The clients; `pause_seconds` between two things that one does sets the pace."""

    def __init__(self, reactor: Any, port: int) -> None:
        self.done: Counter[str] = Counter()
        self.pause_seconds = 0.05
        self.going_on = True
        self._reactor = reactor
        self._port = port
        self._chance = random.Random(1)  # noqa: S311 - what is done next, not a secret
        self._breaking = DeferredLock()
        self._pool = HTTPConnectionPool(reactor)
        self._client = HTTPClient(Agent(reactor, pool=self._pool))
        self._jobs: tuple[tuple[Callable[[str], Awaitable[object]], int], ...] = (
            (self._plain, 6),
            (self._stream, 6),
            (self._stateless, 3),
            (self._leave, 2),
            (self._failing, 2),
            (self._broken, 1),
            (self._nonsense, 1),
            (self._stranger, 1),
            (self._websocket, 3),
        )

    def work(self) -> Deferred[Any]:
        """Start everybody; fires when all have stopped because `going_on` is false."""
        workers = [Deferred.fromCoroutine(self._worker(number)) for number in range(WORKERS)]
        return gatherResults(workers, consumeErrors=True)

    def leave(self) -> Deferred[Any]:
        """Close what is kept open."""
        closing: Deferred[Any] = self._pool.closeCachedConnections()
        return closing

    async def _worker(self, number: int) -> None:
        jobs, weights = zip(*self._jobs, strict=True)
        while self.going_on:
            self.done["sessions"] += 1
            key = f"soak-{number}-{self.done['sessions']}"
            for job in self._chance.choices(jobs, weights, k=JOBS_PER_SESSION):
                await job(key)
                self.done[job.__name__.strip("_")] += 1
                await deferLater(self._reactor, self.pause_seconds * self._chance.random() * 2)
            await self._forget(key)

    async def _post(
        self, content: str, expected: int, *, token: str = TOKEN, key: str = "", **more: Any
    ) -> str:
        headers = {"authorization": [f"Bearer {token}"], "content-type": ["application/json"]}
        if key:
            headers["x-openclaw-session-key"] = [key]
        body = {"messages": [{"role": "user", "content": content}]} | more
        answer = await self._client.post(self._url(), headers=Headers(headers), json=body)
        text: str = await answer.text()
        if answer.code != expected:
            raise AssertionError(f"{answer.code} for {content}, not {expected}: {text[:300]}")
        return text

    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1/chat/completions"

    async def _plain(self, key: str) -> None:
        await self._post("hi", 200, key=key)

    async def _stream(self, key: str) -> None:
        text = await self._post("hi", 200, key=key, stream=True)
        assert text.endswith("data: [DONE]\n\n"), text[-200:]

    async def _stateless(self, _key: str) -> None:
        await self._post("hi", 200, stream=True)

    async def _failing(self, key: str) -> None:
        await self._post("refuse", 400, key=key)

    async def _broken(self, key: str) -> None:
        # One at a time, behind an answer: a provider that fails five times in a row is not asked for a while.
        async with self._breaking:
            await self._post("hi", 200, key=key)
            text = await self._post("break off", 200, key=key, stream=True)
        assert '"error"' in text, text

    async def _nonsense(self, _key: str) -> None:
        headers = Headers({"authorization": [f"Bearer {TOKEN}"], "content-type": ["application/json"]})
        answer = await self._client.post(self._url(), headers=headers, data=b'{"messages": [')
        await answer.text()
        assert answer.code == 400, answer.code

    async def _stranger(self, _key: str) -> None:
        await self._post("hi", 401, token="wrong")

    async def _leave(self, _key: str) -> None:
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port)
        leaver = await connectProtocol(endpoint, _Leaver())
        await leaver.gone

    async def _websocket(self, key: str) -> None:
        client = await self._logged_in()
        client.say(
            "2", "agent", message="hi", sessionKey=key, idempotencyKey=f"{key}-{self._chance.random()}"
        )
        while (frame := await client.heard.get()).get("payload", {}).get("status") != "ok":
            assert frame.get("ok", True), frame
        if self._chance.random() < 0.5:
            client.transport.abortConnection()
        else:
            client.sendClose()
        await client.closed

    async def _forget(self, key: str) -> None:
        client = await self._logged_in()
        client.say("2", "sessions.delete", key=f"agent:main:{key}")
        while (frame := await client.heard.get()).get("id") != "2":
            pass
        assert frame["ok"], frame
        client.sendClose()
        await client.closed

    async def _logged_in(self) -> Any:
        client = await connect_client(self._port)
        await client.heard.get()  # the challenge
        hello = await client.ask("1", "connect", **connect_params())
        assert hello["ok"], hello
        return client


def _answer(call: UpstreamCall) -> None:
    match call.body["messages"][-1]["content"]:
        case "hold":
            call.stream(chunk({"content": "first"}))
        case "refuse":
            call.answer(400, b'{"error":{"message":"no"}}', content_type="application/json")
        case "break off":
            call.stream(chunk({"content": "half"}))
            call.hang_up()
        case _:
            call.stream(*stream_of("Hel", "lo"))
            call.end()


async def soak(reactor: Any, folder: Path, *, minutes: float) -> Outcome:
    """Do it, and return what came of it."""
    upstream = FakeUpstream(_answer)
    upstream.listen(reactor)
    port = free_port()
    config = configuration(upstream.base_url, port)
    config["logging"] = {"consoleLevel": "error"}
    # Ended runs are kept in memory for those who repeat a request; not longer than the warm-up, here.
    config["gateway"]["limits"] = {"idempotencySeconds": REMEMBERED_SECONDS}
    gateway = GatewayProcess(folder, config, prelude=PRELUDE)
    try:
        await gateway.ready
        warm, done = await _phase(reactor, gateway, port, minutes * 60 * WARM_UP)
        rested = await _at_rest(reactor, gateway)
        samples, more = await _phase(reactor, gateway, port, minutes * 60 * (1 - WARM_UP))
        ended = await _at_rest(reactor, gateway)
        print(gateway.errors, end="")
        assert warm
        return Outcome(done + more, samples, rested, ended)
    finally:
        if not gateway.ended.called:
            await gateway.stop()
        await upstream.stop()


async def _phase(
    reactor: Any, gateway: GatewayProcess, port: int, seconds: float
) -> tuple[list[Census], Counter[str]]:
    """Let a crowd work for some seconds; return what was seen of the gateway and what was done."""
    crowd = _Crowd(reactor, port)
    working = crowd.work()
    samples = [await census(reactor, gateway)]
    ends_at = reactor.seconds() + seconds
    while reactor.seconds() < ends_at and not working.called:
        await deferLater(reactor, min(SAMPLE_SECONDS, ends_at - reactor.seconds()))
        samples.append(await census(reactor, gateway))
        load = (samples[-1].cpu_seconds - samples[-2].cpu_seconds) / (samples[-1].at - samples[-2].at)
        crowd.pause_seconds = min(1.0, max(0.001, crowd.pause_seconds * (load + 0.1) / (LOAD + 0.1)))
    crowd.going_on = False
    await working
    await crowd.leave()
    return samples, crowd.done


async def _at_rest(reactor: Any, gateway: GatewayProcess) -> Census:
    await deferLater(reactor, 2.0)
    return await census(reactor, gateway)


def _told(name: str, sample: Census) -> str:
    return (
        f"{name}: {sample.resident_bytes / MEGABYTE:.1f} MB, {sample.descriptors} descriptors, "
        f"{sample.threads} threads, {sample.timers} timers, {sample.deferreds} Deferreds, "
        f"{sample.blocks} blocks of Python's"
    )


async def main(reactor: Any, minutes: str = "5") -> None:
    """Print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = await soak(reactor, Path(folder), minutes=float(minutes))
    first, last = outcome.samples[0], outcome.samples[-1]
    load = (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at)
    print(f"{sum(outcome.done.values())} things done at {load:.0%} of a core: {dict(outcome.done)}")
    print(_told("at rest after the warm-up", outcome.rested))
    print(_told("at rest in the end", outcome.ended))
    print(f"memory under load: {slope_per_hour(outcome.samples) / MEGABYTE:+.2f} MB an hour")
    if outcome.grown:
        print(f"grown: {outcome.grown}")
        raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
