"""What a gateway costs per request: `python benchmarks/gateway.py [--quick] [--only NAME,...] [--peer ...]`.

It starts a mock model provider, two yardsticks (yardstick.py says what they are) and a gateway, runs each
scenario against one after the other, and prints one table and one line of JSON. Yardsticks and gateway are
on one core, provider and load on another. The figure to look at is CPU per request (user and system, the
gateway's whole process tree) as a multiple of what the yardsticks need for the same: a slow machine and a
busy one change it little, and less still with `--rounds`. "direct" is the same load without a gateway; its
CPU is the mock provider's.

Another server is measured beside them with `--peer [NAME=]http://HOST:PORT,TOKEN,MODEL[,PID]`; with its PID
its CPU is counted too. A star in MODEL stands for the mock provider's name of the scenario's model. The
server has to be configured to ask the mock provider, which `--upstream-port` puts at a known port. Linux.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from load import Load, Peer, Tally
from mock_upstream import NEXT
from processes import TOKEN, Child, cpu_seconds, free_port, gateway_command, resident_bytes
from table import TITLES, Row
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater, react
from websockets_load import idle_websockets, websocket_calls

SESSIONS, TURNS_BEFORE, TURNS_MEASURED = 128, 20, 10  # with 40 to 60 messages, 50 on average
SETTLING_SECONDS = 1.0
"""After this a gateway that is ready has its threads, and has given back what starting took."""

GATEWAY_CORE, OTHER_CORE = 0, 1
MODEL_HEADER = "x-openclaw-model"
DIRECT = frozenset({"plain", "plain-alone"})
SCENARIOS = (
    *("idle", "plain", "plain-alone", "rate", "stream", "step", "burst", "long", "session", "cancel"),
    *("held", "ws-idle", "ws-calls"),
)
ALL = frozenset(SCENARIOS)
YARDSTICKS = {
    "answer": frozenset({"idle", "plain", "plain-alone", "rate", "session"}),
    "parts": frozenset({"idle"}),
    "relay": ALL - {"ws-idle", "ws-calls"},
    "pipe": frozenset({"stream", "step", "burst", "long"}),
}

ONCE = {"idle", "held", "ws-idle"}  # memory that was taken once is there the next time

_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. " * 10},
    {"role": "user", "content": "What is there to say about gateways? " * 20},
]


class Bench:
    """The scenarios against one server; `pid` is None when its CPU cannot be read."""

    def __init__(  # noqa: PLR0913 - who is measured, from where, and how long
        self,
        reactor: Any,
        peer: Peer,
        pid: int | None,
        *,
        mock: Peer,
        scale: float,
        scenarios: frozenset[str] = ALL,
    ) -> None:
        self.scenarios = scenarios
        self._reactor = reactor
        self._peer = peer
        self._pid = pid
        self._mock = mock
        self._scale = scale
        self._load = Load(reactor, peer)
        self._sessions = 0

    async def run(self, name: str) -> Row:
        """Run one scenario."""
        scenarios: dict[str, Callable[[], Awaitable[Row]]] = {
            "idle": self._idle,
            "plain": lambda: self._closed("plain", 16, self._request("plain")),
            "plain-alone": lambda: self._closed("plain-alone", 1, self._request("plain")),
            "rate": self._rate,
            "stream": lambda: self._closed("stream", 8, self._request("alone-100", stream=True)),
            "step": self._step,
            "burst": lambda: self._closed("burst", 8, self._request("together-100", stream=True)),
            "long": lambda: self._closed("long", 1, self._request("together-10000", stream=True)),
            "session": self._session,
            "cancel": self._cancel,
            "held": self._held,
            "ws-idle": self._ws_idle,
            "ws-calls": self._ws_calls,
        }
        return await scenarios[name]()

    def _request(self, model: str, *, stream: bool = False) -> Callable[[int], bytes]:
        request = self._bytes(model, {"messages": _MESSAGES, "stream": stream})
        return lambda _number: request

    def _bytes(self, model: str, body: dict[str, Any]) -> bytes:
        named = {"model": self._peer.model.replace("*", model), **body}
        return self._peer.request(named, {MODEL_HEADER: f"mock/{model}"})

    async def _idle(self) -> Row:
        return Row(name="idle", kib_each=self._kib_each(0, 1))

    async def _closed(self, name: str, concurrency: int, request: Callable[[int], bytes]) -> Row:
        await self._load.closed(concurrency, 1.0, request)  # warm
        cpu = self._cpu()
        tally = await self._load.closed(concurrency, 6 * self._scale, request)
        return self._row(name, tally, cpu)

    async def _step(self) -> Row:
        streams = 64
        endpoint = TCP4ClientEndpoint(self._reactor, self._mock.host, self._mock.port)
        mock: Any = await connectProtocol(endpoint, Protocol())
        mock.transport.setTcpNoDelay(True)
        tally, let_go = await self._load.hold(streams, self._request("step", stream=True)(0))
        step = partial(mock.transport.write, NEXT)
        await self._load.in_step(tally, streams, 1.0, step)  # warm
        cpu = self._cpu()
        await self._load.in_step(tally, streams, 6 * self._scale, step)
        row = self._row("step", tally, cpu)
        let_go()
        mock.transport.loseConnection()
        return msgspec.structs.replace(row, requests=streams, per_second=None, cpu_ms=None)

    async def _rate(self) -> Row:
        cpu = self._cpu()
        tally = await self._load.open_loop(200, 6 * self._scale, self._request("plain"))
        return self._row("rate", tally, cpu)

    async def _session(self) -> Row:
        self._sessions += 1  # each time others, since they grow
        group, users = self._sessions, max(int(SESSIONS * self._scale), 1)
        body: dict[str, Any] = {"messages": [{"role": "user", "content": "And what else is there? " * 4}]}

        def request(number: int) -> bytes:
            return self._bytes("plain", {**body, "user": f"bench-{group}-{number % users}"})

        await self._load.closed(32, 60.0, request, at_most=users * TURNS_BEFORE)
        cpu = self._cpu()
        tally = await self._load.closed(32, 60.0, request, at_most=users * TURNS_MEASURED)
        return self._row("session", tally, cpu)

    async def _cancel(self) -> Row:
        cpu = self._cpu()
        request = self._request("hold", stream=True)(0)
        tally = await self._load.hang_ups(int(1000 * self._scale), 16, request)
        return self._row("cancel", tally, cpu)

    async def _held(self) -> Row:
        before, count = self._resident(), int(1000 * self._scale)
        tally, let_go = await self._load.hold(count, self._request("hold", stream=True)(0))
        each = self._kib_each(before, count)
        let_go()
        return Row(name="held", requests=count, errors=tally.errors, kib_each=each)

    async def _ws_idle(self) -> Row:
        before, count = self._resident(), int(5000 * self._scale)
        let_go = await idle_websockets(self._reactor, self._peer, count)
        each = self._kib_each(before, count)
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

    def _kib_each(self, before: int, count: int) -> float | None:
        return (self._resident() - before) / count / 1024 if self._pid is not None else None

    def _resident(self) -> int:
        return resident_bytes(self._pid) if self._pid is not None else 0


async def main(reactor: Any, *arguments: str) -> None:
    """Measure, and print."""
    options = _options(arguments)
    os.sched_setaffinity(0, {OTHER_CORE})
    print(TITLES)
    async with AsyncExitStack() as running:
        benches = await _benches(reactor, options, running)
        only = {"idle", *options.only.split(",")} if options.only else ALL
        rows = await _measure(benches, [name for name in SCENARIOS if name in only], options.rounds)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    told = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "rows": rows}
    print(msgspec.json.encode(told).decode())


async def _benches(reactor: Any, options: argparse.Namespace, running: AsyncExitStack) -> dict[str, Bench]:
    """Start everything; the gateway comes after the yardsticks that it is measured in, and peers after it."""
    scale = 0.25 if options.quick else 1.0
    mock = await running.enter_async_context(
        _program(reactor, "mock_upstream.py", str(options.upstream_port), core=OTHER_CORE)
    )
    port = int(await mock.ready)
    direct = Peer("127.0.0.1", port, TOKEN, "*")
    benches = {"direct": Bench(reactor, direct, mock.pid, mock=direct, scale=scale, scenarios=DIRECT)}
    for name, scenarios in YARDSTICKS.items():
        program = _program(reactor, "yardstick.py", name, str(port), core=GATEWAY_CORE)
        yardstick = await running.enter_async_context(program)
        place = Peer("127.0.0.1", int(await yardstick.ready), TOKEN, "*")
        benches[name] = Bench(reactor, place, yardstick.pid, mock=direct, scale=scale, scenarios=scenarios)
    ours, pid = await running.enter_async_context(_our_gateway(reactor, port))
    benches["gateway"] = Bench(reactor, ours, pid, mock=direct, scale=scale)
    headers = dict(header.split(": ", 1) for header in options.header)
    for text in options.peer:
        name, peer, peer_pid = _peer(text, headers)
        benches[name] = Bench(reactor, peer, peer_pid, mock=direct, scale=scale)
    return benches


async def _measure(benches: dict[str, Bench], wanted: Collection[str], rounds: int) -> dict[str, list[Row]]:
    """Run each scenario against one server after the other, so that all meet the machine in one state.

    Of several rounds the one that cost a server least counts.
    """
    rows: dict[str, list[Row]] = {who: [] for who in benches}
    for name in wanted:
        best: dict[str, Row] = {}
        last = 1 if name in ONCE else rounds
        for turn in range(1, last + 1):
            for who, bench in benches.items():
                if name not in bench.scenarios:
                    continue
                row = await bench.run(name)
                best[who] = min(row, best.get(who, row), key=Row.cost)
                if turn == last:
                    if who not in {"direct", *YARDSTICKS}:
                        best[who].measure(best.get("answer"), best.get("relay"))
                    rows[who].append(best[who])
                    print(best[who].line(who), flush=True)
    return rows


@asynccontextmanager
async def _program(reactor: Any, *command: str, core: int) -> AsyncIterator[Child]:
    """Run one of the programs beside this one, which print their port."""
    file, *arguments = command
    whole = [sys.executable, str(Path(__file__).with_name(file)), *arguments]
    child = Child(reactor, whole, core=core, word="\n", environ=dict(os.environ))  # noqa: TID251 - a program of its own
    try:
        yield child
    finally:
        await child.stop()


@asynccontextmanager
async def _our_gateway(reactor: Any, upstream_port: int) -> AsyncIterator[tuple[Peer, int]]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command, environ = gateway_command(Path(folder), port=port, upstream_port=upstream_port)
        gateway = Child(reactor, command, core=GATEWAY_CORE, word="curl", environ=environ)
        try:
            await gateway.ready
            await deferLater(reactor, SETTLING_SECONDS)
            yield Peer("127.0.0.1", port, TOKEN, "openclaw"), gateway.pid
        finally:
            await gateway.stop()


def _peer(text: str, headers: dict[str, str]) -> tuple[str, Peer, int | None]:
    name, scheme, place = text.partition("http://")
    url, token, model, *rest = f"{scheme}{place}".split(",")
    parts = urlsplit(url)
    assert parts.hostname is not None
    peer = Peer(parts.hostname, parts.port or 80, token, model, headers=headers)
    return name.rstrip("=") or "peer", peer, int(rest[0]) if rest else None


def _options(arguments: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the time and of the numbers")
    parser.add_argument("--rounds", type=int, default=1, help="how often; the cheapest time of each counts")
    parser.add_argument("--only", default="", help="names of scenarios, with commas")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        help="[NAME=]http://HOST:PORT,TOKEN,MODEL[,PID]; may be repeated",
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        help="'name: value' of each request to peers; may be repeated",
    )
    parser.add_argument("--upstream-port", type=int, default=0, help="where the mock provider listens")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    react(main, sys.argv[1:])
