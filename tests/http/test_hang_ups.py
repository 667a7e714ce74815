from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from openclaw_twisted.config.settings import ProviderSettings
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.testing import LoopbackDoor, real_reactor
from tests.http.door import DoorCase
from tests.http.faulty_turns import count_ours
from tests.http.hang_ups import HangUps, every_hang_up

__all__ = ["Leaving"]

HANG_UPS = 36
AT_ONCE = 6


class Leaving(DoorCase):
    """A gateway's HTTP door before a provider on a socket."""

    timeout = 30

    async def test_whoever_leaves_takes_the_upstream_along_and_leaves_nothing(self) -> None:
        hang_ups = HangUps(real_reactor(), token=LoopbackDoor.TOKEN)
        hang_ups.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(hang_ups.upstream.stop()))
        given = ProviderSettings(base_url=hang_ups.upstream.base_url)
        configured = Configured(real_reactor(), {"mock": given})
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        settings: dict[str, Any] = {"agents": {"defaults": {"model": "mock/m"}}}
        self.open(settings=settings, provider=configured.providers["mock"])
        await self.leave(hang_ups, 9)
        before = count_ours()
        taken = await self.leave(hang_ups, HANG_UPS)
        self.assertEqual(len(taken), HANG_UPS)
        self.assertLess(sorted(taken)[HANG_UPS // 2], 0.25)
        self.assertEqual(hang_ups.upstream.connections, HANG_UPS + 9)
        await self.until(lambda: not self.door.connections and not self.door.runs.runner.active())
        await self.until(lambda: not count_ours() - before)

    async def leave(self, hang_ups: HangUps, count: int) -> list[float]:
        """Hang up so often, and return how many seconds each took to reach the upstream."""
        kinds = every_hang_up(count)

        async def work() -> list[float]:
            return [await hang_ups.seconds(self.door.port, kind) for kind in kinds]

        times = await gatherResults([Deferred.fromCoroutine(work()) for _ in range(AT_ONCE)])
        return [seconds for each in times for seconds in each]
