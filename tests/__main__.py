"""Run the suite with trial: `python -m tests`, or `python -m tests tests.runs.test_lanes`.

Trial has the word while the tests run; its report gives the reason of every skipped test. After it
comes one line that scripts can read: `N passed, N failed, N skipped`. The exit code is 0 only when
nothing failed, at least one test passed, and every test that was loaded reported back.

`--installed` is how the suite meets the package as users get it: the tests come from the checkout,
`openclaw_twisted` and its plugin come from site-packages. Both are siblings in the checkout, so the
checkout is taken off sys.path and the tests are imported by their place instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import Any, cast

from twisted.trial.reporter import TextReporter
from twisted.trial.runner import TestLoader, TrialRunner

__all__ = ["CHECKOUT", "Tally", "main"]

CHECKOUT = Path(__file__).resolve().parent.parent


class Tally(TextReporter):
    """Trial's report, and how each test ended, counted once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._succeeded: set[str] = set()

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._succeeded.add(test.id())

    def counts(self) -> tuple[int, int, int]:
        """Return how many tests passed, failed and were skipped; each once, for its worst end."""
        failed = _ids(self.failures) | _ids(self.errors) | _ids(self.unexpectedSuccesses)
        skipped = (_ids(self.skips) | _ids(self.expectedFailures)) - failed
        return len(self._succeeded - failed), len(failed), len(skipped)


def main(arguments: list[str]) -> int:
    """Run the tests that `arguments` name and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests", description="Run the suite with trial.")
    parser.add_argument(
        "--installed", action="store_true", help="test the installed package, not the checkout's"
    )
    parser.add_argument("names", nargs="*", default=["tests"], help="packages, modules, classes or tests")
    options = parser.parse_args(arguments)
    if options.installed:
        _leave_the_checkout()
    import openclaw_twisted

    source = Path(openclaw_twisted.__file__).resolve().parent
    print(f"openclaw_twisted {openclaw_twisted.__version__} in {source}, Python {sys.version.split()[0]}")
    if options.installed and source == CHECKOUT / "openclaw_twisted":
        print("This is the checkout's package. Install the wheel (pip install .) to use --installed.")
        return 1
    if "tests" in options.names:
        print(
            "tests/clients, the tests with real clients, are not among these: tox -e clients,clients-openai1"
        )
    suite = TestLoader().loadByNames(options.names, recurse=True)
    loaded = suite.countTestCases()
    result = cast("Tally", TrialRunner(Tally).run(suite))
    passed, failed, skipped = result.counts()
    if result.testsRun < loaded:
        print(f"Only {result.testsRun} of {loaded} tests reported back.")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if passed and not failed and result.testsRun >= loaded else 1


def _leave_the_checkout() -> None:
    ours = (CHECKOUT, CHECKOUT / "tests")
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in ours]
    place = CHECKOUT / "tests"
    spec = importlib.util.spec_from_file_location(
        "tests", place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["tests"] = package
    spec.loader.exec_module(package)
    pkgutil.get_importer(str(CHECKOUT))  # or trial's search warns that nobody looked into it


def _ids(reported: list[tuple[Any, ...]]) -> set[str]:
    return {entry[0].id() for entry in reported}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
