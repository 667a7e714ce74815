from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import Batches, ModelRequest
from openclaw_twisted.errors import UpstreamAuthError
from openclaw_twisted.events import TextDelta
from openclaw_twisted.providers.scripted import Scripted, reply
from tests.cli.gateway import Silent
from tests.cli.served import ServedTestCase

__all__ = ["PipeTests", "TerminalTests"]

CTRL_C, CTRL_D = b"\x03", b"\x04"


class Hesitant(Scripted):
    """Its first answer begins, and never ends; the others are as they are written."""

    async def respond(self, request: ModelRequest) -> Batches:
        first = not self.requests
        async for events in super().respond(request):
            yield events
            if first:
                await Deferred()


def said(model: Scripted) -> list[str]:
    """Return what the user said in the last request."""
    return [str(message.content) for message in model.requests[-1].messages if message.role == "user"]


class PipeTests(ServedTestCase):
    async def test_each_line_is_a_turn(self) -> None:
        model = Scripted(reply("One", "."), reply("Two.\n"))
        await self.gateway(model)
        ended = await self.run_command("chat", "--session-key", "s", stdin=b"first\n\nse\xc3\xa7ond")
        self.assertEqual((0, "One.\nTwo.\n", ""), (ended.code, ended.stdout, ended.stderr))
        self.assertEqual(["first", "seçond"], said(model))

    async def test_one_document_at_the_end(self) -> None:
        model = Scripted(reply("One."), reply("Two."))
        await self.gateway(model)
        ended = await self.run_command("chat", "--json", stdin=b"first\n/new\n/stop\nsecond\n/exit\nthird\n")
        self.assertEqual((0, "The session starts afresh.\nNothing runs.\n"), (ended.code, ended.stderr))
        turns = [
            {"message": "first", "status": "ok", "text": "One."},
            {"message": "second", "status": "ok", "text": "Two."},
        ]
        self.assertEqual(
            {"status": "ok", "sessionKey": "agent:main:main", "turns": turns}, json.loads(ended.stdout)
        )
        self.assertEqual(["second"], said(model))

    async def test_a_document_for_each_event(self) -> None:
        await self.gateway(Scripted(reply("One."), reply("Two.")))
        ended = await self.run_command("chat", "--stream", "--agent", "main", stdin=b"a\nb\n")
        documents = [json.loads(line) for line in ended.stdout.splitlines()]
        results = [document["payload"]["status"] for document in documents if document["type"] == "result"]
        self.assertEqual((0, ["ok", "ok"]), (ended.code, results))
        self.assertEqual("event", documents[0]["type"])

    async def test_the_first_error_ends_it(self) -> None:
        model = Scripted([UpstreamAuthError("The model is out.")])
        await self.gateway(model)
        ended = await self.run_command("chat", "--json", stdin=b"first\nsecond\n")
        self.assertEqual((1, "Error: The model is out.\n"), (ended.code, ended.stderr))
        document = json.loads(ended.stdout)
        self.assertEqual(("error", "The model is out."), (document["status"], document["summary"]))
        self.assertEqual(["error"], [turn["status"] for turn in document["turns"]])
        self.assertEqual(1, len(model.requests))

    async def test_a_reply_that_takes_too_long(self) -> None:
        model = Silent()
        await self.gateway(model)
        ended = await self.run_command("chat", "--timeout", "0.2", "--stream", stdin=b"first\n")
        self.assertEqual(2, ended.code)
        self.assertIn("no reply within 0.2 s", ended.stderr)
        self.assertEqual("timeout", json.loads(ended.stdout.splitlines()[-1])["payload"]["status"])
        await model.stopped

    async def test_ctrl_c_stops_the_run_and_leaves(self) -> None:
        model = Silent()
        await self.gateway(model)
        child = self.start("chat", stdin=b"first\n", stays=True)
        await model.asked
        child.signal("INT")
        ended = await child.ended
        self.assertEqual((130, "", ""), (ended.code, ended.stdout, ended.stderr))
        await model.stopped

    async def test_a_session_of_another_agent_than_the_one_named(self) -> None:
        await self.gateway(Scripted())
        ended = await self.run_command(
            "chat", "--agent", "other", "--session-key", "agent:main:s", stdin=b"first\n"
        )
        self.assertEqual((1, ""), (ended.code, ended.stdout))
        self.assertIn("other", ended.stderr)

    async def test_a_run_whose_reply_nobody_reads_is_stopped(self) -> None:
        model = Silent()
        await self.gateway(model)
        child = self.start("chat", stdin=b"first\n", stays=True)
        await model.asked
        child.transport.closeStdout()
        ended = await child.ended
        self.assertEqual(1, ended.code)
        self.assertIn("Error: The output cannot be written any more.", ended.stderr)
        await model.stopped

    async def test_a_document_that_ctrl_c_ends_is_not_well(self) -> None:
        model = Silent()
        await self.gateway(model)
        child = self.start("chat", "--json", stdin=b"first\n", stays=True)
        await model.asked
        child.signal("INT")
        ended = await child.ended
        document = json.loads(ended.stdout)
        self.assertEqual((130, "error"), (ended.code, document["status"]))
        self.assertEqual([{"message": "first", "status": "stopped", "text": ""}], document["turns"])
        await model.stopped

    async def test_a_gateway_that_goes_away(self) -> None:
        await self.gateway(Scripted(reply("One.")))
        child = self.start("chat", stdin=b"first\n", stays=True)
        await child.says(b"One.\n")
        await self.stop_gateway()
        ended = await child.ended
        self.assertEqual(1, ended.code)
        self.assertIn("connection ended", ended.stderr)


class TerminalTests(ServedTestCase):
    async def test_a_conversation(self) -> None:
        model = Hesitant([[TextDelta("Wait")]], reply("Two."), reply("Three."))
        await self.gateway(model)
        child = self.start("chat", terminal=True)
        await child.says(b"agent:main:main at ws://")
        await child.says(b"\n> ")
        child.type(b"first\n")
        await child.says(b"Wait")
        child.type(CTRL_C)
        await child.says(b"Stopped.\r\n> ")
        child.type(b"pasted\nat once\n")
        await child.says(b"Two.\r\n> ")
        self.assertEqual("pasted\nat once", said(model)[-1])
        child.type(b"third\n")
        await child.says(b"Three.\r\n> ")
        child.type(CTRL_D)
        self.assertEqual(0, (await child.ended).code)

    async def test_stop_stops_the_run_at_once(self) -> None:
        model = Silent()
        await self.gateway(model)
        child = self.start("chat", terminal=True)
        await child.says(b"\n> ")
        child.type(b"first\n")
        await model.asked
        child.type(b"/stop\n")
        await model.stopped
        await child.says(b"Stopped.\r\n> ")
        child.type(CTRL_C)
        self.assertEqual(130, (await child.ended).code)

    async def test_an_error_does_not_end_it(self) -> None:
        await self.gateway(Scripted([UpstreamAuthError("The model is out.")]))
        child = self.start("chat", terminal=True)
        await child.says(b"\n> ")
        child.type(b"first\n")
        await child.says(b"The model is out.\r\n> ")
        child.type(b"/help\n")
        await child.says(b"leave\r\n> ")
        child.type(b"/exit\n")
        self.assertEqual(0, (await child.ended).code)
