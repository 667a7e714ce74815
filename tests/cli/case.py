"""Commands run in this process, each test with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli import main

__all__ = ["COMMAND", "CommandTestCase", "environment", "merged", "run_child"]

COMMAND = (sys.executable, "-m", "openclaw_twisted.cli")


def environment(home: Path) -> dict[str, str | None]:
    """Return what to change in the environment: another home, and none of the developer's own settings."""
    unset: dict[str, str | None] = {name: None for name in os.environ if name.startswith("OPENCLAW_")}  # noqa: TID251 - the developer's own
    return {**unset, "HOME": str(home)}


def merged(environ: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment for a child process: ours with these changes; None takes a variable away."""
    everything = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}  # noqa: TID251 - see above
    return {name: value for name, value in everything.items() if value is not None}


def run_child(*arguments: str, environ: Mapping[str, str | None]) -> subprocess.CompletedProcess[str]:
    """Run a command that needs a reactor of its own in a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments], env=merged(environ), capture_output=True, text=True, check=False, timeout=30
    )


class CommandTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.state = self.home / ".openclaw"
        self.environ = environment(self.home)

    def invoke(self, *arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner(env=self.environ).invoke(
            main, arguments, input=stdin, catch_exceptions=False, prog_name="openclaw-gateway"
        )

    def succeed(self, *arguments: str) -> str:
        """Run a command that has to end well, and return what it wrote on stdout."""
        result = self.invoke(*arguments)
        self.assertEqual(0, result.exit_code, result.output)
        return result.stdout

    def fail_with(self, code: int, *arguments: str) -> str:
        """Run a command that has to end with this code and say nothing on stdout; return its stderr."""
        result = self.invoke(*arguments)
        self.assertEqual((code, ""), (result.exit_code, result.stdout), result.output)
        return result.stderr

    def configure(self, text: str) -> Path:
        """Write the configuration file."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        path = self.state / "openclaw.json"
        path.touch(mode=0o600)
        path.write_text(text)
        return path
