"""Commands in processes of their own, and the gateway that they ask in this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import Provider
from openclaw_twisted.cli.client import connected
from openclaw_twisted.cli.question import Question, ask
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.cli.target import Flags, Target, find_target
from openclaw_twisted.providers.scripted import Scripted
from openclaw_twisted.testing import real_reactor
from tests.cli.case import environment
from tests.cli.child import Child, Ended
from tests.cli.gateway import TOKEN, LoopbackGateway

__all__ = ["ServedTestCase"]


class ServedTestCase(TestCase):
    """A gateway for each test that starts one, found by the environment that its commands get."""

    timeout = 30

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.environ = environment(self.home.resolve())

    async def gateway(self, model: Provider | None = None, **settings: Any) -> None:
        gateway = LoopbackGateway(self.home / "gateway", model or Scripted(), **settings)
        self._gateway: LoopbackGateway | None = gateway
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop_gateway()))
        await gateway.start()
        self.environ |= {"OPENCLAW_GATEWAY_URL": gateway.url, "OPENCLAW_GATEWAY_TOKEN": TOKEN}

    async def stop_gateway(self) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.stop()

    def start(self, *arguments: str, stdin: bytes | None = None, **how: bool) -> Child:
        child = Child(*arguments, environ=self.environ, stdin=stdin, **how)
        self.addCleanup(lambda: Deferred.fromCoroutine(child.kill()))
        return child

    async def run_command(self, *arguments: str, stdin: bytes | None = None) -> Ended:
        return await self.start(*arguments, stdin=stdin).ended

    async def succeed(self, *arguments: str) -> str:
        """Run a command that has to end well with nothing to complain about, and return its stdout."""
        ended = await self.run_command(*arguments)
        self.assertEqual((0, ""), (ended.code, ended.stderr), ended.stdout)
        return ended.stdout

    async def document(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json, and return its one document."""
        ended = await self.run_command(*arguments, "--json")
        self.assertEqual(code, ended.code, ended)
        return json.loads(ended.stdout)

    @property
    def target(self) -> Target:
        """The gateway, for asking it from this process."""
        url = self.environ["OPENCLAW_GATEWAY_URL"]
        surroundings = Surroundings(environ={}, home=self.home)
        return find_target(Flags(url, TOKEN), surroundings)

    async def say(self, message: str, session_key: str) -> None:
        """Have a turn of a session."""
        question = Question(message=message, session_key=session_key)
        await ask(real_reactor(), self.target, question)

    async def request(self, method: str, **params: Any) -> Any:
        """Ask the gateway from this process."""
        async with connected(real_reactor(), self.target, scopes=("operator.admin",)) as session:
            return json.loads(await session.conversation.request(method, params))
