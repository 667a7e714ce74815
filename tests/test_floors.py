"""Who may import whom: the contracts in pyproject.toml, checked here without import-linter.

`tox -e floors` runs the same contracts with import-linter, which also names the chains. This check needs
nothing but the standard library, so that a forbidden import fails in every run of the suite.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

__all__ = ["FloorsTests", "PlantedImportTests"]

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = "openclaw_twisted"
CONTRACTS: list[dict[str, Any]] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]

Imports = dict[str, set[str]]


def imports_of(package: Path) -> Imports:
    """Return what every module of the package imports, as dotted names, wherever in the module it does so."""
    found: Imports = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        inside = parts[:-1]  # what a relative import starts from
        module = ".".join(inside if parts[-1] == "__init__" else parts)
        found[module] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = inside[: len(inside) - node.level + 1] if node.level else ()
                base = ".".join((*above, *filter(None, [node.module])))
                found[module] |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def violations(imports: Imports) -> Iterator[str]:
    """Yield one line for each break of a contract."""
    for contract in CONTRACTS:
        if contract["type"] == "layers":
            yield from broken_layers(contract, imports)
        else:
            yield from broken_bans(contract, imports)


def broken_layers(contract: dict[str, Any], imports: Imports) -> Iterator[str]:
    """A part imports only from the floors below it, never from a part beside it; every part has a floor."""
    floor_of = {
        part.strip(): floor for floor, parts in enumerate(contract["layers"]) for part in parts.split("|")
    }
    for module, names in imports.items():
        part = part_of(module)
        if part and part not in floor_of:
            yield f"{module} stands on no floor"
        for other in sorted({part_of(name) for name in names} & floor_of.keys() - {part}):
            if part in floor_of and floor_of[other] <= floor_of[part]:
                yield f"{module} imports {other}, which is not below it"


def broken_bans(contract: dict[str, Any], imports: Imports) -> Iterator[str]:
    """A module reaches none of the forbidden ones, not even through others."""
    for module in imports:
        if within(module, contract["source_modules"]):
            for name in sorted(reach(module, imports)):
                if within(name, contract["forbidden_modules"]):
                    yield f"{module} reaches {name}"


def reach(module: str, imports: Imports) -> set[str]:
    """Return everything that importing the module imports, through our own modules."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = imports.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


def part_of(name: str) -> str:
    """`openclaw_twisted.http.app` -> `http`; empty for the package itself and for everybody else's."""
    package, _, rest = name.partition(".")
    return rest.partition(".")[0] if package == PACKAGE else ""


def within(name: str, modules: list[str]) -> bool:
    """Tell whether the name is one of the modules or stands inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


class FloorsTests(SynchronousTestCase):
    def test_every_import_keeps_the_contracts(self) -> None:
        self.assertEqual([], list(violations(imports_of(CHECKOUT / PACKAGE))))


class PlantedImportTests(SynchronousTestCase):
    """One forbidden import of each kind, planted in a package of its own, is caught."""

    def found(self, **modules: str) -> list[str]:
        package = Path(self.mktemp()) / PACKAGE
        for name, source in modules.items():
            file = package.joinpath(*name.split("__")).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return list(violations(imports_of(package)))

    def test_imports_from_below_are_fine(self) -> None:
        self.assertEqual(
            [],
            self.found(
                tap="import openclaw_twisted\nfrom openclaw_twisted import service\nimport twisted.python",
                runs__turn="from . import lanes\nfrom ..events import RunEvent\nimport twisted",
                runs__lanes="from openclaw_twisted.config import settings",
                events="from openclaw_twisted.errors import GatewayError",
            ),
        )

    def test_upward(self) -> None:
        self.assertEqual(
            ["openclaw_twisted.config.settings imports tap, which is not below it"],
            self.found(config__settings="def later():\n    import openclaw_twisted.tap"),
        )

    def test_sideways(self) -> None:
        self.assertEqual(
            ["openclaw_twisted.http.app imports ws, which is not below it"],
            self.found(http__app="from ..ws.frames import Frame"),
        )

    def test_part_without_a_floor(self) -> None:
        self.assertEqual(["openclaw_twisted.helpers stands on no floor"], self.found(helpers=""))

    def test_runs_reaching_an_ability(self) -> None:
        self.assertEqual(
            ["openclaw_twisted.runs.turn reaches openclaw_twisted.sessions"],
            self.found(runs__turn="import openclaw_twisted.sessions"),
        )

    def test_word_reaching_the_network_through_another(self) -> None:
        self.assertEqual(
            ["openclaw_twisted.errors reaches treq", "openclaw_twisted.events reaches treq"],
            self.found(events="from openclaw_twisted import errors", errors="import treq"),
        )
