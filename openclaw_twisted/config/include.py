"""`$include`: parts of the configuration in files of their own.

`{$include: "agents.json5"}` is replaced by what the file holds; `{$include: ["a.json5", "b.json5"]}` by
both merged in order. Keys that stand beside it win. Merging goes into objects, joins lists and otherwise
takes the later value. Files are found from the including file and stay inside the configuration's folder
or the roots that OPENCLAW_INCLUDE_ROOTS allows, links followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from openclaw_twisted.config import syntax
from openclaw_twisted.config.findings import Findings, at
from openclaw_twisted.errors import ConfigError

__all__ = ["INCLUDE", "MAX_FILES", "MAX_NESTING", "Includes"]

INCLUDE: Final = "$include"
MAX_NESTING: Final = 10
MAX_FILES: Final = 200
"""Files read in all: nesting alone would let a few files ask for millions."""

_MAX_PATH_CHARACTERS: Final = 4096

ReadText = Callable[[Path], str]
"""Return the text of a file; raises `ConfigError`."""


class Includes:
    """Puts included files in their places; `files` lists all that were read."""

    def __init__(self, main: Path, *, roots: Sequence[Path], read: ReadText, findings: Findings) -> None:
        self._read = read
        self._findings = findings
        self._main = main
        self._roots = [Path(os.path.realpath(root)) for root in (main.parent, *roots)]
        self.files: list[Path] = []

    def resolve(self, tree: Any) -> Any:
        """Return the tree of the main file with every include in its place."""
        return self._placed(tree, "", (self._main,))

    def _placed(self, value: Any, path: str, chain: tuple[Path, ...]) -> Any:
        """Return `value` with its includes in place; `chain` is the files that led here, this one last."""
        if isinstance(value, list):
            return [self._placed(item, f"{path}[{i}]", chain) for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        beside = {
            key: self._placed(item, at(path, key), chain) for key, item in value.items() if key != INCLUDE
        }
        if INCLUDE not in value:
            return beside
        names = value[INCLUDE] if isinstance(value[INCLUDE], list) else [value[INCLUDE]]
        here = at(path, INCLUDE)
        if not names or not all(isinstance(name, str) for name in names):
            self._findings.refuse(here, "must be a file name or a list of file names")
            return beside
        parts = [self._included(name, path, here, chain) for name in names]
        if beside:
            parts.append(beside)
        merged = parts[0]
        for part in parts[1:]:
            merged = _merged(merged, part)
        return merged

    def _included(self, name: str, path: str, here: str, chain: tuple[Path, ...]) -> Any:
        """Return what one included file stands for; an empty object when that is a problem."""
        found = self._allowed(name, here, chain)
        if found is None:
            return {}
        if len(self.files) >= MAX_FILES:
            if len(self.files) == MAX_FILES:
                self._findings.refuse(here, f"makes more than {MAX_FILES} included files")
                self.files.append(found)
            return {}
        self.files.append(found)
        try:
            tree = syntax.decode(self._read(found), str(found))
        except ConfigError as error:
            for problem in error.problems:
                self._findings.refuse(here, f"{name}: {problem}")
            return {}
        return self._placed(tree, path, (*chain, found))

    def _allowed(self, name: str, here: str, chain: tuple[Path, ...]) -> Path | None:
        """Return the file that a name means, or None when it must not be read."""
        if "\0" in name or len(name) >= _MAX_PATH_CHARACTERS or not name.strip():
            self._findings.refuse(here, "must be a file name")
            return None
        found = Path(os.path.realpath(chain[-1].parent / name))
        if not any(found.is_relative_to(root) for root in self._roots):
            self._findings.refuse(
                here,
                f'"{name}" is outside {self._roots[0]}; allow its folder in OPENCLAW_INCLUDE_ROOTS',
            )
            return None
        if found in [Path(os.path.realpath(file)) for file in chain]:
            self._findings.refuse(
                here, f'"{name}" includes itself: {" > ".join(file.name for file in (*chain, found))}'
            )
            return None
        if len(chain) > MAX_NESTING:
            self._findings.refuse(
                here, f'"{name}" is the {len(chain)}th file in a row; at most {MAX_NESTING} may be'
            )
            return None
        return found


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        both = {key: _merged(first[key], second[key]) for key in second if key in first}
        return first | second | both
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    return second
