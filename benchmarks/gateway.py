"""What a gateway costs per request: `python benchmarks/gateway.py [--quick] [--only NAME,...] [--peer ...]`.

It starts a mock model provider and a gateway, the gateway on one core, provider and load on another, and
prints one table and one line of JSON. The figure to look at is CPU per request (user and system, the
gateway's whole process tree): it depends little on what else the machine does, where times do. "direct" is
the same load without a gateway.

Another server is measured with `--peer http://HOST:PORT,TOKEN,MODEL[,PID]`; with its PID its CPU is counted
too. It has to be configured to ask the mock provider, which `--upstream-port` puts at a known port. Linux.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from load import Load, Peer, Tally
from processes import TOKEN, Child, cpu_seconds, free_port, gateway_command, resident_bytes
from twisted.internet.task import deferLater, react
from websockets_load import idle_websockets, websocket_calls

HISTORY_TURNS = 25
SETTLING_SECONDS = 1.0
"""After this a gateway that is ready has its threads, and has given back what starting took."""

GATEWAY_CORE, OTHER_CORE = 0, 1
MODEL_HEADER = "x-openclaw-model"
DIRECT = {"plain", "plain-alone"}

_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. " * 10},
    {"role": "user", "content": "What is there to say about gateways? " * 20},
]


class Row(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the table; CPU per request is in milliseconds, per chunk in microseconds."""

    name: str
    requests: int = 0
    errors: int = 0
    per_second: float = 0.0
    cpu_ms: float | None = None
    cpu_us_per_chunk: float | None = None
    chunks_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    first_p50_ms: float | None = None
    kib_each: float | None = None


class Bench:
    """The scenarios against one peer; `pid` is None when its CPU cannot be read."""

    def __init__(self, reactor: Any, peer: Peer, pid: int | None, *, scale: float) -> None:
        self._reactor = reactor
        self._peer = peer
        self._pid = pid
        self._scale = scale
        self._load = Load(reactor, peer)

    async def run(self, only: set[str]) -> list[Row]:
        """Run the scenarios, or those that are named."""
        scenarios: dict[str, Callable[[], Awaitable[Row]]] = {
            "plain": lambda: self._closed("plain", 16, self._request("plain")),
            "plain-alone": lambda: self._closed("plain-alone", 1, self._request("plain")),
            "rate": self._rate,
            "stream": lambda: self._closed("stream", 8, self._request("alone-100", stream=True)),
            "burst": lambda: self._closed("burst", 8, self._request("together-100", stream=True)),
            "long": lambda: self._closed("long", 1, self._request("together-10000", stream=True)),
            "session": self._session,
            "cancel": self._cancel,
            "held": self._held,
            "ws-idle": self._ws_idle,
            "ws-calls": self._ws_calls,
        }
        rows = []
        for name, scenario in scenarios.items():
            if not only or name in only:
                rows.append(await scenario())
                print(_line(rows[-1]), flush=True)
        return rows

    def _request(self, model: str, *, stream: bool = False) -> Callable[[int], bytes]:
        body: dict[str, Any] = {"messages": _MESSAGES, "stream": stream}
        request = self._peer.request(body, {MODEL_HEADER: f"mock/{model}"})
        return lambda _number: request

    async def _closed(self, name: str, concurrency: int, request: Callable[[int], bytes]) -> Row:
        await self._load.closed(concurrency, 1.0, request)  # warm
        cpu = self._cpu()
        tally = await self._load.closed(concurrency, 6 * self._scale, request)
        return self._row(name, tally, cpu)

    async def _rate(self) -> Row:
        cpu = self._cpu()
        tally = await self._load.open_loop(200, 6 * self._scale, self._request("plain"))
        return self._row("rate", tally, cpu)

    async def _session(self) -> Row:
        concurrency = 32
        body: dict[str, Any] = {"messages": [{"role": "user", "content": "And what else is there? " * 4}]}

        def request(number: int) -> bytes:
            return self._peer.request(
                {**body, "user": f"bench-{number % concurrency}"}, {MODEL_HEADER: "mock/plain"}
            )

        await self._load.closed(concurrency, 60.0, request, at_most=concurrency * HISTORY_TURNS)
        cpu = self._cpu()
        tally = await self._load.closed(concurrency, 6 * self._scale, request)
        return self._row("session", tally, cpu)

    async def _cancel(self) -> Row:
        cpu = self._cpu()
        request = self._request("hold", stream=True)(0)
        tally = await self._load.hang_ups(int(1000 * self._scale), 16, request)
        return self._row("cancel", tally, cpu)

    async def _held(self) -> Row:
        before, count = self._resident(), int(1000 * self._scale)
        tally, let_go = await self._load.hold(count, self._request("hold", stream=True)(0))
        each = (self._resident() - before) / count / 1024
        let_go()
        return Row(name="held", requests=count, errors=tally.errors, kib_each=each)

    async def _ws_idle(self) -> Row:
        before, count = self._resident(), int(5000 * self._scale)
        let_go = await idle_websockets(self._reactor, self._peer, count)
        each = (self._resident() - before) / count / 1024
        await let_go()
        return Row(name="ws-idle", requests=count, kib_each=each)

    async def _ws_calls(self) -> Row:
        cpu = self._cpu()
        tally = await websocket_calls(self._reactor, self._peer, connections=16, seconds=4 * self._scale)
        return self._row("ws-calls", tally, cpu)

    def _row(self, name: str, tally: Tally, cpu_before: float) -> Row:
        cpu, answers = self._cpu() - cpu_before, max(tally.answers, 1)
        streamed = bool(tally.events)
        known = self._pid is not None
        return Row(
            name=name,
            requests=tally.answers,
            errors=tally.errors,
            per_second=tally.answers / tally.seconds,
            cpu_ms=cpu * 1000 / answers if known else None,
            cpu_us_per_chunk=cpu * 1e6 / tally.events if known and streamed else None,
            chunks_per_second=tally.events / tally.seconds if streamed else None,
            p50_ms=tally.latency(50) if tally.latencies else None,
            p99_ms=tally.latency(99) if tally.latencies else None,
            first_p50_ms=tally.latency(50, tally.first_events) if streamed else None,
        )

    def _cpu(self) -> float:
        return cpu_seconds(self._pid) if self._pid is not None else 0.0

    def _resident(self) -> int:
        return resident_bytes(self._pid) if self._pid is not None else 0


async def main(reactor: Any, *arguments: str) -> None:
    """Measure, and print."""
    options = _options(arguments)
    os.sched_setaffinity(0, {OTHER_CORE})
    only = set(filter(None, options.only.split(",")))
    mock = Child(
        reactor,
        [sys.executable, str(Path(__file__).with_name("mock_upstream.py")), str(options.upstream_port)],
        core=OTHER_CORE,
        word="\n",
        environ=dict(os.environ),  # noqa: TID251 - a program of its own
    )
    upstream_port = int(await mock.ready)
    scale = 0.25 if options.quick else 1.0
    print(_line(None))
    try:
        direct = Peer("127.0.0.1", upstream_port, TOKEN, "plain")
        rows: dict[str, list[Row]] = {}
        if not only or only & DIRECT:
            rows["direct"] = await Bench(reactor, direct, mock.pid, scale=scale).run(
                DIRECT & (only or DIRECT)
            )
        if options.peer:
            peer, pid = _peer(options.peer)
            rows["peer"] = await Bench(reactor, peer, pid, scale=scale).run(only)
        else:
            rows["gateway"] = await _our_gateway(reactor, upstream_port, only, scale)
    finally:
        await mock.stop()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    told = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "rows": rows}
    print(msgspec.json.encode(told).decode())


async def _our_gateway(reactor: Any, upstream_port: int, only: set[str], scale: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command, environ = gateway_command(Path(folder), port=port, upstream_port=upstream_port)
        gateway = Child(reactor, command, core=GATEWAY_CORE, word="curl", environ=environ)
        try:
            await gateway.ready
            await deferLater(reactor, SETTLING_SECONDS)
            idle = Row(name="idle", kib_each=resident_bytes(gateway.pid) / 1024)
            print(_line(idle))
            peer = Peer("127.0.0.1", port, TOKEN, "openclaw")
            return [idle, *await Bench(reactor, peer, gateway.pid, scale=scale).run(only)]
        finally:
            await gateway.stop()


def _peer(text: str) -> tuple[Peer, int | None]:
    url, token, model, *rest = text.split(",")
    place = urlsplit(url)
    assert place.hostname is not None
    return Peer(place.hostname, place.port or 80, token, model), int(rest[0]) if rest else None


def _line(row: Row | None) -> str:
    if row is None:
        titles = (
            "",
            "requests",
            "errors",
            "per s",
            "CPU ms",
            "CPU us/chunk",
            "chunks/s",
            "p50 ms",
            "p99 ms",
            "first ms",
            "KiB each",
        )
        return "".join(f"{title:>13}" for title in titles)
    values = (
        row.requests,
        row.errors,
        row.per_second,
        row.cpu_ms,
        row.cpu_us_per_chunk,
        row.chunks_per_second,
    )
    values += (row.p50_ms, row.p99_ms, row.first_p50_ms, row.kib_each)
    return f"{row.name:>13}" + "".join(_cell(value) for value in values)


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'':>13}"
    return f"{value:>13}" if isinstance(value, int) else f"{value:>13.2f}"


def _options(arguments: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the time and of the numbers")
    parser.add_argument("--only", default="", help="names of scenarios, with commas")
    parser.add_argument("--peer", help="http://HOST:PORT,TOKEN,MODEL[,PID] in place of our own gateway")
    parser.add_argument("--upstream-port", type=int, default=0, help="where the mock provider listens")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    react(main, sys.argv[1:])
