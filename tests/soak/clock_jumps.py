"""Set the clock while the gateway works: `python -m tests.soak.clock_jumps`. Linux, `apt install faketime`.

The gateway runs with libfaketime, which reads from a file how far its wall clock is off; the monotonic clock
is left alone, as a real jump of the clock leaves it. For each jump there is a gateway with a stream that is
under way, a run that its time limit should end, an address that is locked out and a WebSocket client that
expects ticks.

With `control` as an argument the monotonic clock is faked as well, as if the gateway measured time with the
wall clock. Then it has to fail, or this shows nothing.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from openclaw_twisted.sse import DONE
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, stream_of
from tests.gateway.process import TOKEN, GatewayProcess, configuration, free_port
from tests.ws.rig import connect_params
from tests.ws.socket_client import Client, connect_client

__all__ = ["JUMPS", "Outcome", "jump"]

JUMPS = {"+2 h": 7_200, "-1 h": -3_600, "+30 d": 30 * 86_400}
RUN_SECONDS = 4.0
LOCKOUT_SECONDS = 6.0
TICK_SECONDS = 1.0
TOLERANCE_SECONDS = 0.75
"""Half a second, and what a busy machine adds."""

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclass
class Outcome:
    """What came of a jump: times in seconds since it was asked for, None for what never came."""

    run_ended: float | None = None
    lockout_ended: float | None = None
    ticks: int = 0
    stream_whole: bool = False
    faults: list[str] = field(default_factory=list)


class _Rig:
    """A gateway whose clock can be set, with an upstream that says nothing by itself."""

    def __init__(self, reactor: Any, folder: Path, *, control: bool) -> None:
        self.reactor = reactor
        self.calls: list[UpstreamCall] = []
        self.upstream = FakeUpstream(self.calls.append)
        self.upstream.listen(reactor)
        self.port = free_port()
        self.client = HTTPClient(Agent(reactor))
        self._offset = folder / "offset"
        self._offset.write_text("+0")
        config = configuration(self.upstream.base_url, self.port)
        config["agents"]["defaults"]["timeoutSeconds"] = RUN_SECONDS
        lockout = {"maxAttempts": 3, "lockoutMs": int(LOCKOUT_SECONDS * 1000), "exemptLoopback": False}
        config["gateway"]["auth"]["rateLimit"] = lockout
        config["gateway"]["limits"] = {"tickSeconds": TICK_SECONDS}
        environ = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
        }
        if not control:
            environ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        self.gateway = GatewayProcess(folder, config, environ=environ)

    def set_clock(self, seconds: int) -> None:
        self._offset.write_text(f"{seconds:+d}")

    async def ask(self, *, token: str = TOKEN, key: str = "s", stream: bool = False) -> tuple[int, str]:
        answer = await self.client.post(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json={"stream": stream, "messages": [{"role": "user", "content": "hi"}]},
            headers=Headers({"authorization": [f"Bearer {token}"], "x-openclaw-session-key": [key]}),
        )
        return answer.code, await answer.text()

    def begin(self, **more: Any) -> Deferred[tuple[int, str]]:
        return Deferred.fromCoroutine(self.ask(**more))

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    async def asked(self, count: int) -> None:
        while len(self.calls) < count:
            await self.pause(0.005)

    async def stop(self) -> None:
        if not self.gateway.ended.called:
            await self.gateway.stop("KILL")
        await self.upstream.stop()


async def jump(reactor: Any, folder: Path, seconds: int, *, control: bool = False) -> Outcome:
    """Set the clock of a gateway forward or back, and return what came of what was under way."""
    rig = _Rig(reactor, folder, control=control)
    try:
        await rig.gateway.ready
        return await _watched(rig, seconds)
    finally:
        await rig.stop()


async def _watched(rig: _Rig, seconds: int) -> Outcome:
    outcome, now = Outcome(), rig.reactor.seconds
    socket = await _logged_in(rig.port)
    streaming = rig.begin(key="stream", stream=True)
    await rig.asked(1)
    rig.calls[0].stream(chunk({"content": "first"}))
    limited, limited_at = rig.begin(key="limited"), now()
    await rig.asked(2)
    # The last: whoever fails too often is locked out with the right token, too.
    locked_at = now()
    for _ in range(3):
        await rig.ask(token="wrong")
    rig.set_clock(seconds)
    jumped_at = now()
    limited.addBoth(_note, outcome, "run_ended", now, limited_at)
    await rig.pause(1.0)
    for event in stream_of("last"):
        rig.calls[0].event(event)
    rig.calls[0].end()
    status, text = await _within(rig, streaming, "the stream", outcome) or (0, "")
    outcome.stream_whole = status == 200 and '"stop"' in text and text.encode().endswith(DONE)
    while now() - locked_at < LOCKOUT_SECONDS + 2 and outcome.lockout_ended is None:
        status, _ = await _within(rig, rig.begin(token="wrong"), "a login", outcome) or (0, "")
        if status == 401:
            outcome.lockout_ended = now() - locked_at
        await rig.pause(0.05)
    await _within(rig, limited, "the limited run", outcome)
    outcome.ticks = sum(frame.get("event") == "tick" for frame in _frames(socket))
    _judge(outcome, now() - jumped_at)
    socket.transport.abortConnection()
    await socket.closed
    return outcome


async def _logged_in(port: int) -> Client:
    client = await connect_client(port)
    await client.heard.get()  # the challenge
    await client.ask("1", "connect", **connect_params())
    return client


def _frames(client: Client) -> list[Any]:
    return [frame for queue in (client.heard, client.events) for frame in queue.pending]


def _note(result: Any, outcome: Outcome, name: str, now: Any, since: float) -> Any:
    setattr(outcome, name, now() - since)
    return result


async def _within(rig: _Rig, work: Deferred[Any], what: str, outcome: Outcome) -> Any:
    work.addTimeout(10, rig.reactor)
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what came of it
        outcome.faults.append(f"{what}: {type(error).__name__}")
        return None


def _judge(outcome: Outcome, watched: float) -> None:
    if not outcome.stream_whole:
        outcome.faults.append("the stream did not end whole")
    for what, came, due in (
        ("the time limit of a run", outcome.run_ended, RUN_SECONDS),
        ("the end of the lockout", outcome.lockout_ended, LOCKOUT_SECONDS),
    ):
        if came is None or abs(came - due) > TOLERANCE_SECONDS:
            outcome.faults.append(f"{what} was due after {due:g} s and came after {came}")
    if abs(outcome.ticks - watched / TICK_SECONDS) > 2:
        outcome.faults.append(f"{outcome.ticks} ticks in {watched:.1f} s")


async def main(reactor: Any, control: str = "") -> None:
    """Print what came of each jump."""
    if LIBRARY is None:
        raise SystemExit("libfaketime is not there: apt install faketime")
    failed = False
    for name, seconds in JUMPS.items():
        with tempfile.TemporaryDirectory() as folder:
            outcome = await jump(reactor, Path(folder), seconds, control=control == "control")
        failed |= bool(outcome.faults)
        print(f"{name}: {outcome}")
    raise SystemExit(failed)


if __name__ == "__main__":
    react(main, sys.argv[1:])
