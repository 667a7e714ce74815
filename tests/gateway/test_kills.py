"""The short form of tests/soak/kills.py."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from openclaw_twisted.testing import real_reactor
from tests.soak.kills import kill_again_and_again

KILLS = 30


class Kills(TestCase):
    timeout = 300

    async def test_nothing_acknowledged_is_lost_doubled_or_out_of_order(self) -> None:
        folder = Path(self.mktemp()).absolute()  # noqa: ASYNC240 - before anything runs
        folder.mkdir()
        outcome = await kill_again_and_again(real_reactor(), folder, kills=KILLS, seed=1)
        self.assertEqual(outcome.faults, ())
        self.assertGreater(outcome.acknowledged, KILLS)
