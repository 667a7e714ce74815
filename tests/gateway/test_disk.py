"""A disk that takes nothing for a while, under a gateway in a process.

No mount and no root are needed: a limit on the size of files, which `prlimit` changes while the process runs,
makes each write fail with EFBIG, and SQLite calls that a failing disk.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

from openclaw_twisted.content import text_of
from tests.gateway.process import Said
from tests.gateway.rig import GatewayCase, turn
from tests.soak.kills import json_message

if sys.platform == "linux":
    import resource

KEY = {"x-openclaw-session-key": "disk"}


class DiskTrouble(GatewayCase):
    if sys.platform != "linux":
        skip = "prlimit is Linux's"

    def limit(self, gateway: Said, file_bytes: int) -> None:
        assert gateway.process.pid is not None
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))

    async def not_ready(self) -> None:
        status, told = await self.get("/readyz")
        self.assertEqual((status, told), (503, {"ready": False, "failing": ["disk"]}))

    async def ready_again(self) -> None:
        while (await self.get("/readyz"))[0] != 200:
            await turn(0.1)

    def kept(self, gateway: Said) -> list[str]:
        with closing(sqlite3.connect(gateway.state_dir / "sessions.sqlite3")) as database:
            rows = database.execute("SELECT body FROM messages ORDER BY session_key, seq").fetchall()
        return [text_of(json_message(body)) for (body,) in rows]

    async def test_nothing_is_acknowledged_and_it_recovers_by_itself(self) -> None:
        gateway = await self.started()
        self.assertEqual((await self.ask("before", headers=KEY))[0], 200)
        self.assertEqual(await self.get("/readyz"), (200, {"ready": True, "failing": []}))

        self.limit(gateway, 0)
        asked = len(self.asked)
        status, text = await self.ask("lost", headers=KEY)
        self.assertEqual((status, json.loads(text)["error"]["code"]), (503, "storage_unavailable"))
        self.assertEqual(len(self.asked), asked)  # no model was paid for what cannot be kept
        await self.not_ready()

        self.limit(gateway, resource.RLIM_INFINITY)
        await self.ready_again()
        self.assertEqual((await self.ask("after", headers=KEY))[0], 200)
        await gateway.stop()
        self.assertEqual(self.kept(gateway), ["before", "ok", "after", "ok"])
        self.assertIn("cannot be written: disk I/O error", gateway.output)
        self.assertIn("can be written again", gateway.output)

    async def test_an_answer_that_cannot_be_kept_is_not_called_complete(self) -> None:
        gateway = await self.started()
        asking = self.begin("wait", headers=KEY, stream=True)
        await self.holding(1)
        self.limit(gateway, 0)
        self.finish(self.held[0])
        status, text = await asking
        self.assertEqual(status, 200)  # that much had been said before
        self.assertIn("storage_unavailable", text)
        self.assertNotIn('"finish_reason":"stop"', text)
        await self.not_ready()
        self.limit(gateway, resource.RLIM_INFINITY)
        await self.ready_again()
        self.assertEqual((await self.ask("after", headers=KEY))[0], 200)
        await gateway.stop()
        self.assertEqual(self.kept(gateway), ["after", "ok"])
