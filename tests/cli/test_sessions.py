from __future__ import annotations

import json

from openclaw_twisted.providers.scripted import Scripted, reply
from tests.cli.case import CommandTestCase
from tests.cli.served import ServedTestCase

__all__ = ["SessionTests", "UsageTests"]


class SessionTests(ServedTestCase):
    async def test_listed_by_use(self) -> None:
        await self.gateway(Scripted(reply("One."), reply("Two.")))
        await self.say("First question", "one")
        await self.say("Second\n  question", "two")
        ended = await self.run_command("sessions", "list", "--limit", "1", "--active", "5")
        heading, row = ended.stdout.splitlines()
        self.assertEqual(["SESSION", "USED", "MODEL", "CONTEXT", "AT", "WORK", "TITLE"], heading.split())
        self.assertRegex(row, r"^agent:main:two  just now  scripted/m +Second question$")
        self.assertEqual("1 more; --limit shows them.\n", ended.stderr)
        found = await self.document("sessions", "list", "--search", "first")
        self.assertEqual(["agent:main:one"], [session["key"] for session in found["sessions"]])
        none = await self.run_command("sessions", "list", "--search", "third")
        self.assertEqual((0, "", "There are no such sessions.\n"), (none.code, none.stdout, none.stderr))

    async def test_shown_with_the_last_messages(self) -> None:
        await self.gateway(Scripted(reply("One."), reply("Two.")))
        for message in ("first", "second"):
            await self.say(message, "s")
        shown = await self.succeed("sessions", "show", "s", "--limit", "3")
        self.assertRegex(shown, r"(?m)^session +agent:main:s$")
        _, *messages = shown.split("\n\n")
        self.assertEqual(["One.", "second", "Two."], [message.splitlines()[1] for message in messages])
        document = await self.document("sessions", "show", "agent:main:s", "--limit", "1")
        self.assertEqual("agent:main:s", document["session"]["key"])
        self.assertEqual(["Two."], [message["content"][0]["text"] for message in document["messages"]])
        nothing = await self.document("sessions", "show", "other", code=1)
        self.assertIn('There is no session "other"', nothing["summary"])

    async def test_exported(self) -> None:
        await self.gateway(Scripted(reply("One.")))
        await self.say("first", "s")
        printed = json.loads(await self.succeed("sessions", "export", "s"))
        self.assertEqual(["user", "assistant"], [message["role"] for message in printed["messages"]])
        path = self.home.resolve() / "s.md"
        told = await self.document("sessions", "export", "s", "--format", "markdown", "--output", str(path))
        self.assertEqual({"path": str(path), "format": "markdown", "messages": 2}, told)
        self.assertIn("\n## User, ", path.read_text(encoding="utf-8"))
        ended = await self.run_command("sessions", "export", "s", "--output", str(path / "no"))
        self.assertEqual((1, ""), (ended.code, ended.stdout))
        self.assertIn("cannot be written", ended.stderr)

    async def test_reset(self) -> None:
        await self.gateway(Scripted(reply("One.")))
        await self.say("first", "s")
        self.assertRegex(
            await self.succeed("sessions", "reset", "s"), "^agent:main:s starts afresh, as [0-9a-f-]{36}"
        )
        self.assertEqual([], (await self.request("chat.history", sessionKey="s"))["messages"])
        ended = await self.run_command("sessions", "reset", "other")
        self.assertEqual((1, ""), (ended.code, ended.stdout))
        self.assertIsNone((await self.request("sessions.describe", key="other"))["session"])

    async def test_deleted(self) -> None:
        await self.gateway(Scripted(reply("One.")))
        await self.say("first", "s")
        asked = await self.run_command("sessions", "delete", "s", stdin=b"y\n")
        self.assertEqual((1, ""), (asked.code, asked.stdout))
        self.assertIn("Give --yes", asked.stderr)
        self.assertEqual("agent:main:s is deleted.\n", await self.succeed("sessions", "delete", "s", "--yes"))
        again = await self.document("sessions", "delete", "s", "--yes", code=1)
        self.assertFalse(again["deleted"])


class UsageTests(CommandTestCase):
    def test_deleting_with_json_needs_a_yes(self) -> None:
        result = self.invoke("sessions", "delete", "s", "--json")
        self.assertEqual(1, result.exit_code)
        self.assertIn("Give --yes", json.loads(result.stdout)["summary"])

    def test_a_document_is_no_markdown(self) -> None:
        said = self.fail_with(1, "sessions", "export", "s", "--json", "--format", "markdown")
        self.assertIn("--output", said)
