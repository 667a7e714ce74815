"""A gateway in a process of its own, as people run it: `twistd openclaw-gateway` on a free port."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from openclaw_twisted.testing import real_reactor

__all__ = ["TOKEN", "GatewayProcess", "Said", "command_line", "configuration", "environment", "free_port"]

TOKEN = "a-token-for-tests-only"


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(base_url: str, port: int) -> dict[str, Any]:
    """Return a configuration with one remote model, asked at `base_url`."""
    return {
        "gateway": {
            "port": port,
            "auth": {"token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}, "responses": {"enabled": True}}},
        },
        "agents": {"defaults": {"model": "mock/m"}},
        "models": {"providers": {"mock": {"baseUrl": base_url, "models": [{"id": "m", "name": "m"}]}}},
    }


def command_line(config: Path, *more: str, prelude: str = "") -> list[str]:
    """Return what starts a gateway with the file `config`; `more` are options of `twistd`.

    `prelude` is Python that the process runs first.
    """
    return [
        *(sys.executable, "-c", f"{prelude}\nfrom twisted.scripts.twistd import run; run()"),
        *("-n", "--pidfile=", *more, "openclaw-gateway", "--config", str(config)),
    ]


def environment(state_dir: Path) -> dict[str, str]:
    """Return ours for a gateway: the same places to import from, none of our own gateway's settings."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OPENCLAW")}  # noqa: TID251
    return environ | {
        "OPENCLAW_STATE_DIR": str(state_dir),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


class GatewayProcess(ProcessProtocol):
    """The process: `ready` fires with the text it printed, `ended` with its exit code."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any] | str,
        *more: str,
        environ: Mapping[str, str] = MappingProxyType({}),
        prelude: str = "",
    ) -> None:
        """`environ` is what it gets besides the usual, `prelude` Python that it runs first."""
        self.folder = folder
        self.output = ""
        self.errors = ""
        self.ready: Deferred[str] = Deferred()
        self.ended: Deferred[int] = Deferred()
        self.state_dir = folder / "state"
        path = folder / "openclaw.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        path.chmod(0o600)
        self.process = real_reactor().spawnProcess(
            self,
            sys.executable,
            command_line(path, *more, prelude=prelude),
            env={**environment(self.state_dir), **environ},
            path=str(folder),
        )

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode("utf-8", "replace")
        if "is ready." in self.output and "curl" in self.output and not self.ready.called:
            self.ready.callback(self.output)

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode("utf-8", "replace")

    def processEnded(self, reason: Failure) -> None:
        if not self.ready.called:
            self.ready.errback(AssertionError(f"it ended before it was ready: {self.output}{self.errors}"))
            self.ready.addErrback(lambda _failure: None)
        error = reason.value
        assert isinstance(error, ProcessDone | ProcessTerminated)
        self.ended.callback(-error.signal if error.signal else error.exitCode or 0)

    @property
    def base_url(self) -> str:
        found = re.search(r"API base URL\s+(\S+)", self.output)
        assert found is not None, self.output
        return found[1]

    async def stop(self, signal: str = "TERM") -> int:
        """Send a signal and wait for the end; returns the exit code, negative for a signal."""
        if self.process.pid is not None:
            self.process.signalProcess(signal)
        return await self.ended


class Said(GatewayProcess):
    """A gateway whose log can be waited for."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._waiting: list[tuple[str, int, Deferred[None]]] = []
        super().__init__(*arguments, **more)

    def says(self, words: str, times: int = 1) -> Deferred[None]:
        """Wait until `words` have been said so often."""
        said: Deferred[None] = Deferred()
        self._waiting.append((words, times, said))
        self._look()
        return said

    def outReceived(self, data: bytes) -> None:
        super().outReceived(data)
        self._look()

    def _look(self) -> None:
        for entry in tuple(self._waiting):
            words, times, said = entry
            if self.output.count(words) >= times:
                self._waiting.remove(entry)
                said.callback(None)
