"""What was found wrong with a configuration, collected so that everything is said at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from openclaw_twisted.errors import Problem

__all__ = ["Findings", "at", "did_you_mean"]

_PLAIN = re.compile(r"[A-Za-z_$][\w$-]*")


def at(path: str, key: str) -> str:
    """Return the path of `key` inside the object at `path`: `agents.defaults`, `models["a/b"]`."""
    if not _PLAIN.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "port"?` for the known word that comes near, or nothing."""
    plain = {_letters(name): name for name in known}
    close = difflib.get_close_matches(_letters(word), plain, n=1)
    return f'; did you mean "{plain[close[0]]}"?' if close else ""


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word)).lower()


@dataclass
class Findings:
    """The problems that refuse the start and the warnings that do not."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    written_at: dict[str, str] = field(default_factory=dict)
    """Where the user wrote what now stands elsewhere in the tree, by its new path."""

    def refuse(self, path: str, message: str) -> None:
        """Note something that refuses the start."""
        self.problems.append(Problem(self.shown(path), message))

    def missing(self, path: str, message: str) -> None:
        """Refuse the start for lack of something, unless what stands there was refused already."""
        shown = self.shown(path)
        if all(problem.path != shown for problem in self.problems):
            self.problems.append(Problem(shown, message))

    def warn(self, path: str, message: str) -> None:
        """Note something the user should hear about."""
        self.warnings.append(Problem(self.shown(path), message))

    def shown(self, path: str) -> str:
        """Return the path as the user wrote it."""
        for moved, written in self.written_at.items():
            rest = path.removeprefix(moved)
            if path.startswith(moved) and rest[:1] in {"", ".", "["}:
                return written + rest
        return path
