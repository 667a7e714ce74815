"""Processes under test: started on a core of their own, and what Linux says of their CPU time and memory."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

__all__ = [
    "TOKEN",
    "Child",
    "cpu_seconds",
    "free_port",
    "gateway",
    "gateway_command",
    "open_files",
    "resident_bytes",
]

TOKEN = "a-token-for-benchmarks-only"  # noqa: S105 - it guards nothing
MODELS = ("plain", "alone-100", "together-100", "alone-2000", "together-10000", "hold", "step")

_TICKS = os.sysconf("SC_CLK_TCK")


class Child(ProcessProtocol):
    """A child process pinned to one core; `ready` fires with what it printed once that contains `word`."""

    def __init__(
        self, reactor: Any, command: list[str], *, core: int, word: str, environ: dict[str, str]
    ) -> None:
        self.ready: Deferred[str] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._word = word
        self._output = ""
        self._process = reactor.spawnProcess(self, command[0], command, env=environ)
        self.pid: int = self._process.pid
        os.sched_setaffinity(self.pid, {core})

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        """Collect what the process prints until it is ready."""
        if self.ready.called:
            return
        self._output += data.decode("utf-8", "replace")
        if self._word in self._output:
            self.ready.callback(self._output)

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        """Pass on what goes wrong."""
        sys.stderr.write(data.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        """Tell who waits."""
        if not self.ready.called:
            self.ready.errback(RuntimeError(f"it ended before it was ready: {self._output}"))
        self.ended.callback(None)

    async def stop(self) -> None:
        """End the process and wait until it is gone."""
        if not self.ended.called:
            self._process.signalProcess("TERM")
            await self.ended


def gateway_command(
    folder: Path,
    *,
    port: int,
    upstream_port: int,
    limits: Mapping[str, object] | None = None,
    session: Mapping[str, object] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Write a configuration with default settings and return the command and environment of a gateway.

    `limits` are settings of `gateway.limits`, `session` those of `session`.
    """
    config = {
        "gateway": {
            "port": port,
            "auth": {"token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            "limits": {"maxConnections": 20_000} | dict(limits or {}),
        },
        "agents": {"defaults": {"model": "mock/plain"}},
        "models": {
            "providers": {
                "mock": {
                    "baseUrl": f"http://127.0.0.1:{upstream_port}/v1",
                    "apiKey": "none",
                    "models": [{"id": name, "name": name} for name in MODELS],
                }
            }
        },
        "session": dict(session or {}),
    }
    path = folder / "openclaw.json"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    command = [
        *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
        *("-n", "--pidfile=", "openclaw-gateway", "--config", str(path)),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENCLAW")}  # noqa: TID251
    return command, kept | {"OPENCLAW_STATE_DIR": str(folder / "state")}


@asynccontextmanager
async def gateway(
    reactor: Any, upstream_port: int, *, limits: Mapping[str, object] | None = None, files: int | None = None
) -> AsyncIterator[tuple[int, int]]:
    """Run a gateway; yields its port and its process id. It may have `files` open, if that is given."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command, environ = gateway_command(
            Path(folder), port=port, upstream_port=upstream_port, limits=limits
        )
        if files is not None:
            command = ["/usr/bin/prlimit", f"--nofile={files}", *command]
        child = Child(reactor, command, core=0, word="curl", environ=environ)
        await child.ready
        try:
            yield port, child.pid
        finally:
            await child.stop()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its living descendants have used, user and system."""
    total = 0.0
    for each in _family(pid):
        try:
            stat = Path(f"/proc/{each}/stat").read_text()
        except OSError:
            continue  # it has just ended
        fields = stat.rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def resident_bytes(pid: int) -> int:
    """Return the memory that a process and its descendants hold."""
    total = 0
    for each in _family(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        line = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS: 0 kB")
        total += int(line.split()[1]) * 1024
    return total


def free_port() -> int:
    """Return a port of loopback that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_files(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _family(int(child))
    return found
