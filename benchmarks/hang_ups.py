"""How soon a provider hears that a client has left: `python benchmarks/hang_ups.py [HANG_UPS]`.

It starts a gateway, asks it again and again, leaves before the first byte, in the middle of a stream or
while a whole answer is being made, by FIN, by RST or by closing one direction, and prints how long it took
until the provider's connection was closed, and what the gateway's process held before and after. Linux.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Any

from processes import TOKEN, gateway, open_files, resident_bytes
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from tests.http.hang_ups import HangUp, HangUps, every_hang_up

HANG_UPS = 1000
AT_ONCE = 20
SETTLE_SECONDS = 1.0


async def main(reactor: Any, count: str = str(HANG_UPS)) -> None:
    """Print the table."""
    hang_ups = HangUps(reactor, token=TOKEN)
    hang_ups.upstream.listen(reactor)
    try:
        async with gateway(reactor, hang_ups.upstream.port) as (port, pid):
            await _leave(hang_ups, port, every_hang_up(90))
            await _held(reactor, pid, "before")
            _show(await _leave(hang_ups, port, every_hang_up(int(count))))
            await _held(reactor, pid, "after")
    finally:
        await hang_ups.upstream.stop()


async def _leave(hang_ups: HangUps, port: int, kinds: Iterator[HangUp]) -> dict[HangUp, list[float]]:
    taken: dict[HangUp, list[float]] = defaultdict(list)

    async def work() -> None:
        for kind in kinds:
            taken[kind].append(await hang_ups.seconds(port, kind))

    await gatherResults([Deferred.fromCoroutine(work()) for _ in range(AT_ONCE)])
    return taken


def _show(taken: dict[HangUp, list[float]]) -> None:
    print(f"{'':34}{'hang-ups':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for kind, times in (*taken.items(), ("all", [each for some in taken.values() for each in some])):
        ordered = sorted(times)
        p99 = ordered[int(len(ordered) * 0.99)]
        name = kind if isinstance(kind, str) else f"{kind.moment}, {kind.manner}"
        figures = "".join(f"{seconds * 1000:9.1f}" for seconds in (median(ordered), p99, ordered[-1]))
        print(f"{name:34}{len(ordered):9}{figures}")


async def _held(reactor: Any, pid: int, when: str) -> None:
    await deferLater(reactor, SETTLE_SECONDS)
    print(f"{when}: {open_files(pid)} file descriptors, {resident_bytes(pid) / 2**20:.1f} MiB")


if __name__ == "__main__":
    react(main, sys.argv[1:])
