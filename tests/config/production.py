"""Which settings the production code reads: a search for attributes in its syntax trees.

`limits.tick_seconds` reads a field of what is called `limits` in the settings, if the module imports a struct
with that section. Otherwise it may be a field of what is called so, or of any struct that the module imports,
and what is inside them. A word of several parts, like `model_policy`, needs no import to be understood.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from openclaw_twisted.config import settings
from openclaw_twisted.config.parse import Loaded
from tests.config.structs import Key, keys

__all__ = ["FIELDS", "KEYS", "Field", "fields_in", "reads"]

PACKAGE = Path(settings.__file__).parents[1]
NOT_PRODUCTION = ("config/", "testing/")

Field = tuple[type[msgspec.Struct], str]
"""A struct and the name of one of its attributes."""

KEYS: tuple[Key, ...] = tuple(keys(settings.Settings))
STRUCTS: dict[str, type[msgspec.Struct]] = {key.owner.__name__: key.owner for key in KEYS}
FIELDS: set[Field] = {(key.owner, key.field.name) for key in KEYS}


class Found(NamedTuple):
    """A field that is read, or that is read unless something else of the same name is."""

    field: Field
    certain: bool


def reads(package: Path = PACKAGE, *, certain: bool = False) -> dict[Field, set[str]]:
    """Return the fields that modules outside config/ read, or certainly read, each with the modules."""
    found: dict[Field, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        module = str(file.relative_to(package))
        if module.startswith(NOT_PRODUCTION):
            continue
        for read in fields_in(ast.parse(file.read_text(encoding="utf-8"))):
            if read.certain or not certain:
                found.setdefault(read.field, set()).add(module)
    return found


def fields_in(tree: ast.AST) -> Iterator[Found]:
    """Yield every settings field that a module may read."""
    known = known_structs(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            word = word_before(node)
            meant = called(word)
            understood = meant if "_" in word else meant & known
            fields = {(struct, node.attr) for struct in understood or meant | known} & FIELDS
            certain = len(fields) == 1 and bool(understood or not meant)
            yield from (Found(field, certain) for field in fields)


def known_structs(tree: ast.AST) -> set[type[msgspec.Struct]]:
    """Return the settings structs that a module imports, with everything inside them."""
    names = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    known = {STRUCTS[name] for name in names & STRUCTS.keys()}
    if Loaded.__name__ in names:
        known.add(settings.Settings)
    waiting = list(known)
    while waiting:
        owner = waiting.pop()
        inside = {key.inner for key in KEYS if key.owner is owner and key.inner is not None}
        waiting += inside - known
        known |= inside
    return known


def word_before(node: ast.Attribute) -> str:
    """Return the name before the dot: `tls` in `self._tls.enabled`; empty for a call and the like."""
    before: Any = node.value
    name = before.attr if isinstance(before, ast.Attribute) else getattr(before, "id", "")
    return str(name).lstrip("_")


def called(word: str) -> set[type[msgspec.Struct]]:
    """Return the structs that stand under a key of this name."""
    return {key.inner for key in KEYS if key.field.name == word and key.inner is not None}
