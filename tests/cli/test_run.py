from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw_twisted.cli.run import twistd_options
from tests.cli.case import CommandTestCase, environment
from tests.cli.child import Child

__all__ = ["HelpTests", "RunTests"]


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


class RunTests(TestCase):
    """The gateway itself in a process of its own."""

    timeout = 60

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.environ = environment(self.home.resolve())

    def run_gateway(self, *arguments: str) -> Child:
        child = Child("run", *arguments, environ=self.environ)
        self.addCleanup(lambda: Deferred.fromCoroutine(child.kill()))
        return child

    def files(self) -> set[str]:
        """Return what is in the folder that the gateway was started in."""
        return {path.name for path in Path().iterdir()}

    def configure(self) -> str:
        """Write a configuration that needs no local model, and return its path."""
        path = self.home / "gateway.json"
        path.write_text(json.dumps({"agents": {"defaults": {"model": "none/such"}}}))
        return str(path)

    async def test_it_serves_until_the_signal(self) -> None:
        port = _free_port()
        child = self.run_gateway("--config", self.configure(), "--port", port)
        await child.says(b"is ready")
        self.assertNotIn("twistd.pid", self.files())
        asked = Child("agent", "-m", "hi", "--url", f"ws://127.0.0.1:{port}", environ=self.environ)
        answer = await asked.ended
        self.assertEqual(1, answer.code)
        self.assertIn("none/such", answer.stderr)  # it was let in with the token file
        child.signal("TERM")
        ended = await child.ended
        self.assertEqual(-signal.SIGTERM, ended.code, ended)

    async def test_a_terminal_without_the_letters_of_a_path(self) -> None:
        folder = self.home.resolve() / "h\u00e9"
        self.environ |= {"PYTHONIOENCODING": "ascii", "OPENCLAW_STATE_DIR": str(folder)}
        child = self.run_gateway("--config", self.configure(), "--port", _free_port())
        await child.says(b"is ready")
        await child.says(rb"h\xe9/credentials/gateway-token")

    async def test_a_configuration_that_does_not_hold(self) -> None:
        (self.home / "gateway.json").write_text('{"gateway": {"prot": 1}}')
        ended = await self.run_gateway("--config", str(self.home / "gateway.json")).ended
        self.assertEqual(78, ended.code)
        self.assertIn("gateway.prot", ended.stderr)

    async def test_a_state_directory_that_cannot_be_made(self) -> None:
        state = self.home / ("x" * 300)
        ended = await self.run_gateway("--config", self.configure(), "--state-dir", str(state)).ended
        self.assertEqual(74, ended.code)
        self.assertIn(str(state), ended.stderr)


class HelpTests(CommandTestCase):
    def test_the_options_are_those_of_twistd(self) -> None:
        said = self.succeed("run", "--help")
        self.assertIn("Usage: openclaw-gateway run [OPTIONS]", said)
        for option in ("--config=", "--port=", "--bind=", "--state-dir="):
            self.assertIn(option, said)

    def test_plugins_of_other_programs_are_not_looked_for(self) -> None:
        options: Any = twistd_options()
        self.assertEqual(["openclaw-gateway"], [command for command, *_ in options.subCommands])

    def test_a_slip(self) -> None:
        said = self.fail_with(1, "run", "--prot", "1")
        self.assertIn("--prot", said)
        self.assertIn("openclaw-gateway run --help", said)
        self.assertIn("Wrong number of arguments", self.fail_with(1, "run", "extra"))
