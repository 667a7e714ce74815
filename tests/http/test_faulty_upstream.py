"""An upstream that fails in every way a connection can, and what becomes of the turns."""

from __future__ import annotations

from itertools import repeat
from random import Random

from openclaw_twisted.testing import Fault
from tests.http.faulty_turns import FaultyCase, count_ours, mixed_faults

__all__ = ["EveryCut", "ManyTurns"]

RANDOM_CUTS = 200


class EveryCut(FaultyCase):
    async def test_wherever_an_answer_is_cut_it_is_whole_or_an_error(self) -> None:
        self.open_behind([])
        wire = await self.recorded()
        boundaries = [at for at in range(len(wire)) if wire[at - 2 : at] == b"\r\n"]
        chance = Random(20)  # noqa: S311 - it has to be predictable
        cuts = boundaries + [chance.randrange(1, len(wire)) for _ in range(RANDOM_CUTS)]
        finished = wire.index(b'"finish_reason":"stop"')
        for number, cut in enumerate(cuts, start=1):
            fault = Fault(cut_after=cut, end="reset" if number % 4 == 0 else "close")
            self.proxy.faults = repeat(fault)
            end = await self.turn_ends(number, stream=number % 2 == 0, user=f"user-{number}")
            if end == "whole":
                self.assertGreater(cut, finished)
        await self.assert_told_true()


class ManyTurns(FaultyCase):
    """`count` turns over mixed faults; benchmarks/faulty_turns.py takes more of them, with other seeds."""

    count = 300
    seed = 6

    async def test_each_ends_in_its_answer_or_in_a_typed_error_and_nothing_is_left(self) -> None:
        self.open_behind([])
        wire = await self.recorded()
        await self.until(lambda: not self.door.connections)
        before = count_ours()
        self.proxy.faults = mixed_faults(self.seed, len(wire))
        ends = await self.turns(self.count, at_once=16)
        self.told = f"seed {self.seed}: {dict(ends)}; faults: {dict(self.proxy.met)}"
        self.assertEqual(ends.total(), self.count)
        self.assertGreater(ends["whole"], self.count // 3)
        self.assertGreater(ends["upstream_unavailable"], self.count // 20)
        self.assertGreater(ends["upstream_timeout"], self.count // 50)
        self.assertEqual(len(self.proxy.met), 14)
        await self.assert_told_true()
        await self.assert_nothing_is_left(before)
