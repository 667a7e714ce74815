"""Counts what a gateway under test holds: what Linux tells, and what it tells itself at a signal."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.task import deferLater

from tests.gateway.process import GatewayProcess

__all__ = ["PRELUDE", "Census", "census"]

PRELUDE = """
import gc, json, pathlib, signal, sys

def count(number, frame):
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    gc.collect()
    told = {
        "timers": len(reactor.getDelayedCalls()),
        "blocks": sys.getallocatedblocks(),
        "deferreds": sum(isinstance(each, Deferred) for each in gc.get_objects()),
    }
    pathlib.Path("census.new").write_text(json.dumps(told))
    pathlib.Path("census.new").rename("census.json")

signal.signal(signal.SIGUSR1, count)
"""
"""What the process runs first, so that SIGUSR1 makes it count; no part of a gateway that people run."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Census(NamedTuple):
    """A process at a moment: when (s), what it holds, and the CPU time it has used (s)."""

    at: float
    resident_bytes: int
    descriptors: int
    threads: int
    cpu_seconds: float
    timers: int
    deferreds: int
    blocks: int
    """How many pieces of memory Python has given away: no noise of the allocator is in it."""


async def census(reactor: Any, gateway: GatewayProcess) -> Census:
    """Count what a gateway holds that was started with `PRELUDE`."""
    pid, counted = gateway.process.pid, gateway.folder / "census.json"
    counted.unlink(missing_ok=True)
    gateway.process.signalProcess(signal.SIGUSR1)
    while not counted.exists():
        await deferLater(reactor, 0.01)
    told = json.loads(counted.read_text())
    return _seen(reactor.seconds(), Path(f"/proc/{pid}"), told)


def _seen(at: float, process: Path, told: dict[str, int]) -> Census:
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (process / "status").read_text(), re.MULTILINE))
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return Census(
        at=at,
        resident_bytes=int(status["VmRSS"]) * 1024,
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        threads=int(status["Threads"]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        timers=told["timers"],
        deferreds=told["deferreds"],
        blocks=told["blocks"],
    )
