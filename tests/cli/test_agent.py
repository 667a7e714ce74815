from __future__ import annotations

import json
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.question import read_reply
from openclaw_twisted.errors import UpstreamAuthError
from openclaw_twisted.providers.scripted import Scripted, reply
from tests.cli.case import CommandTestCase
from tests.cli.child import Ended
from tests.cli.gateway import Silent
from tests.cli.served import ServedTestCase

__all__ = ["AgentTests", "ReplyTests", "UsageTests"]


class AgentTests(ServedTestCase):
    async def agent(self, *arguments: str, stdin: bytes | None = None) -> Ended:
        return await self.run_command("agent", *arguments, stdin=stdin)

    async def test_the_reply_and_nothing_else_is_printed(self) -> None:
        await self.gateway(Scripted(reply("Hello,\n", "you: ü.")))
        self.assertEqual(Ended(code=0, stdout="Hello,\nyou: ü.\n", stderr=""), await self.agent("-m", "hi"))

    async def test_json_is_the_final_answer(self) -> None:
        await self.gateway(Scripted(reply("Hello.")))
        ended = await self.agent("--message", "hi", "--json", "--agent", "main", "--session-key", "s")
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        document = json.loads(ended.stdout)
        self.assertEqual(("ok", "completed"), (document["status"], document["summary"]))
        self.assertEqual([{"text": "Hello.", "mediaUrl": None}], document["result"]["payloads"])

    async def test_a_stream_is_a_document_for_each_event(self) -> None:
        await self.gateway(Scripted(reply("Hello.")))
        ended = await self.agent("--message", "hi", "--stream")
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        *events, result = map(json.loads, ended.stdout.splitlines())
        self.assertEqual({"agent", "chat"}, {event["event"] for event in events})
        self.assertEqual(1, len({event["payload"]["runId"] for event in events}))
        self.assertEqual(("result", "ok"), (result["type"], result["payload"]["status"]))

    async def test_a_stream_ends_with_a_result_when_the_run_fails(self) -> None:
        await self.gateway(Scripted([UpstreamAuthError("The model is out.")]))
        ended = await self.agent("-m", "hi", "--stream", "--json")
        self.assertEqual((1, "Error: The model is out.\n"), (ended.code, ended.stderr))
        result = json.loads(ended.stdout.splitlines()[-1])
        self.assertEqual(("result", "error"), (result["type"], result["payload"]["status"]))

    async def test_the_message_on_standard_input(self) -> None:
        model = Scripted(reply("Read it."))
        await self.gateway(model)
        ended = await self.agent("--message", "-", stdin="first line\nßecond\n".encode())
        self.assertEqual((0, "Read it.\n"), (ended.code, ended.stdout))
        self.assertEqual("first line\nßecond", model.requests[0].messages[-1].content)

    async def test_nobody_is_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and never listens
            url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
            ended = await self.agent("-m", "hi", "--url", url)
        said = f"Error: There is no gateway at {url}. Start it with: openclaw-gateway run\n"
        self.assertEqual(Ended(code=1, stdout="", stderr=said), ended)

    async def test_the_wrong_token(self) -> None:
        await self.gateway()
        ended = await self.agent("-m", "hi", "--token", "x" * 40, "--json")
        self.assertEqual(1, ended.code)
        self.assertIn("did not accept the secret from the command line (AUTH_TOKEN_MISMATCH)", ended.stderr)
        self.assertNotIn("x" * 40, ended.stderr)
        self.assertEqual("error", json.loads(ended.stdout)["status"])

    async def test_a_run_that_fails(self) -> None:
        await self.gateway(Scripted([UpstreamAuthError("The model is out.")]))
        ended = await self.agent("-m", "hi", "--json")
        self.assertEqual((1, "Error: The model is out.\n"), (ended.code, ended.stderr))
        document = json.loads(ended.stdout)
        self.assertEqual(("error", "The model is out."), (document["status"], document["summary"]))
        self.assertIn("runId", document)

    async def test_time_runs_out(self) -> None:
        model = Silent()
        await self.gateway(model)
        ended = await self.agent("-m", "hi", "--timeout", "0.2", "--json")
        self.assertEqual(2, ended.code)
        self.assertIn("no reply within 0.2 s", ended.stderr)
        self.assertEqual("timeout", json.loads(ended.stdout)["status"])
        await model.stopped

    async def interrupted(self, name: str) -> Ended:
        """Send a signal while the model is thinking; the run has to stop with the command."""
        model = Silent()
        await self.gateway(model)
        child = self.start("agent", "-m", "hi")
        await model.asked
        child.signal(name)
        ended = await child.ended
        await model.stopped
        return ended

    async def test_ctrl_c_stops_the_run(self) -> None:
        self.assertEqual(Ended(code=130, stdout="", stderr=""), await self.interrupted("INT"))

    async def test_sigterm_stops_the_run(self) -> None:
        self.assertEqual(Ended(code=143, stdout="", stderr=""), await self.interrupted("TERM"))


class UsageTests(CommandTestCase):
    def test_an_empty_message(self) -> None:
        self.assertIn("The message is empty", self.fail_with(1, "agent", "-m", ""))
        self.assertEqual(1, self.invoke("agent", "-m", "-", stdin=b"\n").exit_code)

    def test_standard_input_that_is_no_text(self) -> None:
        result = self.invoke("agent", "-m", "-", stdin=b"ab\xff")
        self.assertEqual(1, result.exit_code)
        self.assertIn("not UTF-8 (byte 2)", result.stderr)

    def test_a_timeout_has_to_be_some_time(self) -> None:
        for value in ("0", "-1", "soon", "nan", "inf"):
            self.assertIn("--timeout", self.fail_with(1, "agent", "-m", "hi", "--timeout", value))

    def test_an_argument_that_is_no_text(self) -> None:
        for arguments in (("-m", "ab\udcff"), ("-m", "hi", "--token", "ab\udcff")):
            self.assertIn(r"b'ab\xff' is no text", self.fail_with(1, "agent", *arguments))

    def test_an_error_with_json_is_a_document_too(self) -> None:
        result = self.invoke("agent", "-m", "hi", "--json", "--url", "nonsense", "--token", "t")
        self.assertEqual(1, result.exit_code)
        self.assertEqual({"status", "summary"}, json.loads(result.stdout).keys())


class ReplyTests(SynchronousTestCase):
    def read(self, payload: Any) -> Any:
        return read_reply(json.dumps(payload).encode())

    def test_text_and_media(self) -> None:
        pieces = [
            {"text": "one", "mediaUrl": None},
            {
                "text": "two",
                "mediaUrl": "https://x/a.png",
                "mediaUrls": ["https://x/a.png", "https://x/b.png"],
            },
            {"mediaUrl": "https://x/c.png"},
        ]
        self.assertEqual(
            "one\ntwo\nMEDIA: https://x/a.png\nMEDIA: https://x/b.png\nMEDIA: https://x/c.png",
            self.read({"status": "ok", "result": {"payloads": pieces}}).text,
        )

    def test_no_pieces(self) -> None:
        self.assertEqual("", self.read({"status": "ok"}).text)
        self.assertEqual("", self.read({"status": "ok", "result": None}).text)
        self.assertEqual("", self.read({"status": "ok", "result": {"payloads": []}}).text)

    def test_a_run_that_was_stopped(self) -> None:
        stopped = {"status": "timeout", "result": {"payloads": [], "meta": {"stopReason": "rpc"}}}
        self.assertTrue(self.read(stopped).called_off)
        stopped["result"] = {"payloads": [], "meta": {"stopReason": "timeout"}}
        self.assertFalse(self.read(stopped).called_off)
        # and as OpenClaw's own gateway tells it
        self.assertTrue(
            self.read({"status": "timeout", "summary": "aborted", "stopReason": "rpc"}).called_off
        )
