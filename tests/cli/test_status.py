from __future__ import annotations

import socket
from unittest import SkipTest

from openclaw_twisted import __version__
from openclaw_twisted.providers.scripted import Scripted, reply
from tests.cli.served import ServedTestCase

__all__ = ["HealthTests", "StatusTests"]


class StatusTests(ServedTestCase):
    async def test_what_the_gateway_does(self) -> None:
        await self.gateway(Scripted(reply("Hello.")))
        await self.say("hi", "one")
        lines = (await self.succeed("status")).splitlines()
        facts = dict(line.split(None, 1) for line in lines[: lines.index("")])
        self.assertEqual(
            {"version": __version__, "runs": "0 running, 0 waiting", "sessions": "1", "model": "scripted/m"},
            {name: facts[name] for name in ("version", "runs", "sessions", "model")},
        )
        self.assertEqual(["RECENT SESSION  USED", "agent:main:one  just now"], lines[-2:])

    async def test_json_is_the_answer_of_the_gateway(self) -> None:
        await self.gateway()
        document = await self.document("status")
        self.assertEqual({"running": 0, "waiting": 0}, document["runs"])


class HealthTests(ServedTestCase):
    async def test_it_is_well(self) -> None:
        await self.gateway()
        self.assertEqual("The gateway is well; agents: main.\n", await self.succeed("health"))

    async def test_at_an_ipv6_address(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            raise SkipTest("there is no IPv6 here") from error
        await self.gateway(bind="custom", customBindHost="::1")
        self.assertEqual("The gateway is well; agents: main.\n", await self.succeed("health"))

    async def test_nobody_is_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and never listens
            url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
            document = await self.document("health", "--url", url, code=1)
        self.assertEqual("error", document["status"])
        self.assertIn("There is no gateway at", document["summary"])

    async def test_a_gateway_that_does_not_answer(self) -> None:
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            url = f"ws://127.0.0.1:{mute.getsockname()[1]}"
            ended = await self.run_command("health", "--url", url, "--timeout", "0.2", "--token", "t")
        self.assertEqual((2, ""), (ended.code, ended.stdout))
        self.assertEqual(f"Error: {url} did not answer within 0.2 s.\n", ended.stderr)
