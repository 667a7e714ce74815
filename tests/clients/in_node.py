"""Clients for Node: a script in `node/` does with its client what is asked, in one process for all tests."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from twisted.trial.unittest import SkipTest

from tests.clients import contract
from tests.clients.contract import ANYBODY, Asking, Reply

__all__ = ["Tests"]

SCRIPTS = Path(__file__).parent / "node"
OLDEST_NODE = 20
INSTALL_SECONDS = 120.0
JOB_SECONDS = 30.0


class NodeError(Exception):
    """What a client threw, by its name."""


class Script:
    """A script of ours in a Node of its own."""

    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(
            [found("node"), name],
            cwd=installed(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        atexit.register(self._end)

    def do(self, job: dict[str, Any]) -> Any:
        """Return what came of a job; raises `NodeError` with what was thrown."""
        jobs, outcomes = self._pipes()
        overdue = threading.Timer(JOB_SECONDS, self._process.kill)
        overdue.start()
        try:
            jobs.write(json.dumps(job) + "\n")
            line = outcomes.readline()
        finally:
            overdue.cancel()
        if not line:
            raise AssertionError(f"Node ended, or was ended after {JOB_SECONDS:g} s: {job}")
        outcome = json.loads(line)
        if "error" in outcome:
            raise NodeError(outcome["error"])
        return outcome["result"]

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            pipe.close()


def found(program: str) -> str:
    """Return where a program is; the tests are skipped where it is not."""
    place = shutil.which(program)
    if place is None:
        raise SkipTest(f"{program} is not installed: the clients for Node were not tried")
    return place


@functools.cache
def installed() -> Path:
    """Return a folder with the scripts and the packages they need."""
    version = subprocess.run([found("node"), "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise SkipTest(f"Node {OLDEST_NODE} or newer is needed, this is {version}")
    place = Path(tempfile.mkdtemp(prefix="openclaw-node-"))
    atexit.register(shutil.rmtree, place)
    shutil.copytree(SCRIPTS, place, dirs_exist_ok=True)
    command = [found("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=place, timeout=INSTALL_SECONDS, check=True, stdout=subprocess.DEVNULL)
    return place


script = functools.cache(Script)


class Tests(contract.Tests):
    script: str
    more: dict[str, str] = {}  # noqa: RUF012

    def setUp(self) -> None:
        script(self.script)
        super().setUp()

    def named(self, error: BaseException) -> str:
        return str(error)

    def do(self, what: str, prompt: str = "", asking: Asking = ANYBODY) -> Any:
        return script(self.script).do(
            {
                "do": what,
                "prompt": prompt,
                "baseURL": self.stage.base_url,
                "model": asking.model,
                "key": asking.key,
                "user": asking.user,
                "headers": asking.headers,
                "retries": asking.retries,
                **self.more,
            }
        )

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        said = self.do("ask", prompt, asking)
        return Reply(said["text"], tokens=tuple(said["tokens"]))

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        said = self.do("stream", prompt, asking)
        return Reply(said["text"], pieces=tuple(said["pieces"]), tokens=tuple(said["tokens"]))

    def loop(self, prompt: str, *, streamed: bool) -> str:
        return str(self.do("streamedLoop" if streamed else "loop", prompt))

    def forced(self, prompt: str) -> tuple[str, Any]:
        name, arguments = self.do("forced", prompt)
        return name, arguments

    def structured(self, prompt: str) -> Any:
        return self.do("structured", prompt)

    def abandon(self, prompt: str) -> float:
        return float(self.do("abandon", prompt))
