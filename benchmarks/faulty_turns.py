"""Turns over an upstream that fails on purpose: `python benchmarks/faulty_turns.py [TURNS] [SEED ...]`.

The same as tests/http/test_faulty_upstream.py, longer and with other seeds. For each seed it prints how many
turns ended how and which faults the connections met, and ends with 1 if a turn hung, told a lie or left
something behind.
"""

from __future__ import annotations

import sys

from twisted.trial.reporter import MinimalReporter
from twisted.trial.runner import TrialRunner

from tests.http.test_faulty_upstream import ManyTurns

TURNS = 1000


def main(turns: int = TURNS, *seeds: int) -> int:
    """Take the turns; return the exit code."""
    failed = 0
    for seed in seeds or (1, 2, 3):
        case = ManyTurns("test_each_ends_in_its_answer_or_in_a_typed_error_and_nothing_is_left")
        case.count, case.seed, case.timeout = turns, seed, turns
        result = TrialRunner(MinimalReporter, workingDirectory="_trial_temp-faulty").run(case)
        failed += not result.wasSuccessful()
        print(getattr(case, "told", "did not end"), "ok" if result.wasSuccessful() else "FAILED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
