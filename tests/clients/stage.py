"""What the clients meet: a gateway process in front of a model, new for each client."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.clients.model import Model
from tests.gateway.process import TOKEN, command_line, configuration, environment, free_port

__all__ = ["TOKEN", "Stage", "stage"]

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
AGENTS_IN_TROUBLE: dict[str, dict[str, Any]] = {
    "failing": {},
    "impatient": {"firstByteTimeoutSeconds": 0.3},
    "limited": {},
    "refusing": {},
    "unreachable": {},
}


class Stage:
    """A gateway with the agent `main` and one for each kind of trouble."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = Model()
        path = folder / "openclaw.json"
        path.write_text(json.dumps(_configuration(self.model.base_url)))
        path.chmod(0o600)
        self._config = path
        self._start()

    def restart(self) -> None:
        """Stop the gateway in good order and start it again, at the same address."""
        self._stop()
        self._start()

    def close(self) -> None:
        self._stop()
        self.model.close()
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        self.printed = ""
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            command_line(self._config),
            env=environment(self.folder / "state"),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait(READY_SECONDS)
        found = re.search(r"API base URL\s+(\S+)", self.printed)
        if found is None:
            self.close()
            raise AssertionError(f"the gateway did not get ready: {self.printed}")
        self.base_url = found[1]

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line
            if "curl" in line:
                self._ready.set()
        self._ready.set()


_set: dict[str, Stage] = {}


def stage(client: str) -> Stage:
    """Return the stage of `client`; that of the client before is struck, the last when the program ends."""
    if client not in _set:
        strike()
        _set[client] = Stage(Path(tempfile.mkdtemp(prefix="openclaw-clients-")))
    return _set[client]


@atexit.register
def strike() -> None:
    """Strike the stage that is set."""
    while _set:
        _, old = _set.popitem()
        old.close()


def _configuration(model_url: str) -> dict[str, Any]:
    config = configuration(model_url, free_port())
    config["gateway"]["http"]["endpoints"]["responses"] = {"enabled": True}
    config["agents"]["entries"] = {"main": {"default": True}}
    for agent, changes in AGENTS_IN_TROUBLE.items():
        # A provider of its own for each, so that no trouble makes the gateway wary of another agent's.
        config["agents"]["entries"][agent] = {"model": f"{agent}/m"}
        provider = {"baseUrl": model_url, "models": [{"id": "m"}], **changes}
        if agent == "unreachable":
            provider["baseUrl"] = f"http://127.0.0.1:{free_port()}/v1"
        config["models"]["providers"][agent] = provider
    return config
