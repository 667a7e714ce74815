"""Whatever a gateway creates is its owner's alone, also where the umask would let everybody in."""

from __future__ import annotations

import os
import stat

from tests.gateway.rig import GatewayCase


class Modes(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(os.umask, os.umask(0))  # children inherit it
        del self.config["gateway"]["auth"]  # so that a token is made, and kept

    async def test_nobody_else_may_read_what_is_made(self) -> None:
        (self.folder / "state").mkdir(mode=0o700)
        places = [self.folder / "state" / name for name in ("twistd.log", "twistd.pid")]
        gateway = await self.started(f"--logfile={places[0]}", f"--pidfile={places[1]}")
        for place in places:
            self.assertTrue(place.exists())
        made = {
            str(path.relative_to(gateway.state_dir)): (path.is_dir(), stat.S_IMODE(path.stat().st_mode))
            for path in (gateway.state_dir, *gateway.state_dir.rglob("*"))
        }
        allowed = {(True, 0o700), (False, 0o600)}
        self.assertEqual(
            {name: oct(mode) for name, (_, mode) in made.items() if made[name] not in allowed}, {}
        )
        for name in ("", "-wal", "-shm", ".lock"):
            self.assertIn(f"sessions.sqlite3{name}", made)
        self.assertIn("credentials/gateway-token", made)
        self.assertEqual(sum(name.startswith("logs/openclaw-") for name in made), 1)
