from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks.programs import BENCHMARKS, program

CHANGES = 60


def changed(data: bytes, dice: random.Random) -> bytes:
    """Cut bytes out of `data`, put others in, or change some."""
    altered = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(altered) + 1)
        altered[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
    return bytes(altered)


class FuzzTargets(SynchronousTestCase):
    def test_what_is_fuzzed_by_the_million_takes_what_it_begins_with_and_some_more(self):
        dice = random.Random(7)  # noqa: S311 - the same each time
        for target, seeds in program("fuzz_targets").TARGETS.values():
            for data in (b"", *seeds, *(changed(dice.choice(seeds), dice) for _ in range(CHANGES))):
                target(data)

    def test_a_finding_is_raised(self):
        target, _ = program("fuzz_targets").TARGETS["http"]
        with self.assertRaises(TypeError):
            target("no bytes")

    def test_the_program_names_every_target(self):
        told = re.findall(r"^ {4}([a-z]+)  ", (BENCHMARKS / "fuzz.py").read_text(), re.MULTILINE)
        self.assertEqual(told, list(program("fuzz_targets").TARGETS))
