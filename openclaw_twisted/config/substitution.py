"""`${NAME}` inside strings: replaced from the environment, `$${NAME}` stands for itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from openclaw_twisted.config.findings import Findings, at

__all__ = ["Expanded", "substitute"]

_REFERENCE = re.compile(r"(\$?)\$\{([A-Z_][A-Z0-9_]*)\}")


class Expanded(str):
    """Text that took something from the environment; `missing` names what was not there."""

    __slots__ = ("missing",)
    missing: tuple[str, ...]

    @classmethod
    def of(cls, text: str, missing: tuple[str, ...]) -> Expanded:
        """Return the text with the names that could not be replaced in it."""
        made = cls(text)
        made.missing = missing
        return made


def substitute(value: Any, environ: Mapping[str, str], findings: Findings, path: str = "") -> Any:
    """Return a copy of the tree with the references in its strings replaced.

    A name that is missing or empty stays as it is and is warned about: what needs it goes without it.
    """
    if isinstance(value, str):
        return _text(value, environ, findings, path)
    if isinstance(value, dict):
        return {key: substitute(item, environ, findings, at(path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, environ, findings, f"{path}[{i}]") for i, item in enumerate(value)]
    return value


def _text(text: str, environ: Mapping[str, str], findings: Findings, path: str) -> str:
    if "${" not in text:
        return text
    missing: list[str] = []

    def replacement(found: re.Match[str]) -> str:
        escape, name = found.groups()
        if escape:
            return found[0][1:]
        if not environ.get(name):
            missing.append(name)
            return found[0]
        return environ[name]

    replaced = _REFERENCE.sub(replacement, text)
    for name in dict.fromkeys(missing):
        findings.warn(path, f"${{{name}}} is not set in the environment, so this value is unavailable")
    return Expanded.of(replaced, tuple(missing)) if _REFERENCE.search(text) else text
