from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import errors, service
from openclaw_twisted.errors import ConfigError, GatewayError, Problem
from openclaw_twisted.http.endpoint import status_of

DOCS = Path(__file__).resolve().parent.parent / "docs"


def kinds(parent: type[GatewayError] = GatewayError) -> list[type[GatewayError]]:
    """Return the errors of the tree; the doors have a few of their own that never leave them."""
    every = [kind for child in parent.__subclasses__() for kind in (child, *kinds(child))]
    return [kind for kind in every if kind.__module__ == errors.__name__]


def example(kind: type[GatewayError]) -> GatewayError:
    if kind is errors.MethodNotAllowedError:
        return errors.MethodNotAllowedError("x", allowed=("GET",))
    return kind("x")


class Documented(SynchronousTestCase):
    def setUp(self) -> None:
        page = (DOCS / "reference" / "errors.md").read_text()
        self.rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in page.splitlines()
            if line.startswith("| ") and "`code`" not in line
        ]

    def test_every_code_stands_in_the_table_with_its_status(self) -> None:
        documented = {row[0].strip("`"): row[1] for row in self.rows}
        for kind in kinds():
            status = documented.get(str(kind.code).replace("None", "null"))
            self.assertIsNotNone(status, f"{kind.__name__}: {kind.code}")
            if issubclass(kind, ConfigError):
                continue
            error = example(kind)
            self.assertIn(str(status_of(error)), str(status), kind.__name__)

    def test_the_table_has_no_code_that_is_not_raised(self) -> None:
        raised = {str(kind.code).replace("None", "null") for kind in kinds()}
        self.assertEqual({row[0].strip("`") for row in self.rows}, raised)

    def test_every_exit_code_stands_in_the_operations_page(self) -> None:
        page = (DOCS / "operations" / "running.md").read_text()
        for name in ("EXIT_CONFIG", "EXIT_DEFECT", "EXIT_PORT", "EXIT_STORAGE"):
            self.assertIn(f"| {getattr(service, name)} |", page, name)


class Saying(SynchronousTestCase):
    def test_a_configuration_error_lists_every_problem(self) -> None:
        error = ConfigError("openclaw.json", (Problem("a.b", "is wrong"), Problem("", "is odd")))
        self.assertEqual(str(error), "openclaw.json cannot be used:\n  - a.b: is wrong\n  - is odd")

    def test_the_whole_tree_is_exported(self) -> None:
        for kind in kinds():
            self.assertIn(kind.__name__, errors.__all__)
