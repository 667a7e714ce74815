from __future__ import annotations

from openclaw_twisted.providers.scripted import Scripted, reply
from tests.cli.gateway import Silent
from tests.cli.served import ServedTestCase

__all__ = ["RunsTests"]


class RunsTests(ServedTestCase):
    async def test_what_is_under_way_is_listed_and_stopped(self) -> None:
        model = Silent()
        await self.gateway(model)
        asking = self.start("agent", "-m", "hi", "--session-key", "s")
        await model.asked
        heading, row = (await self.succeed("runs", "list")).splitlines()
        self.assertEqual(["RUN", "SESSION", "STATUS", "STARTED", "MODEL"], heading.split())
        run_id, *rest = row.split()
        self.assertEqual(["agent:main:s", "running", "just", "now", "scripted/m"], rest)
        self.assertEqual(f"Stopped {run_id}.\n", await self.succeed("runs", "abort", run_id))
        await model.stopped
        self.assertEqual(1, (await asking.ended).code)
        again = await self.document("runs", "abort", run_id, code=1)
        self.assertEqual({"ok": True, "aborted": False, "runIds": []}, again)

    async def test_what_has_ended(self) -> None:
        await self.gateway(Scripted(reply("Hello.")))
        await self.say("hi", "s")
        ended = await self.run_command("runs", "list")
        self.assertEqual((0, "", "Nothing runs.\n"), (ended.code, ended.stdout, ended.stderr))
        (run,) = (await self.document("runs", "list", "--limit", "5", "--session-key", "s"))["runs"]
        self.assertEqual(("finished", "agent:main:s"), (run["status"], run["sessionKey"]))
