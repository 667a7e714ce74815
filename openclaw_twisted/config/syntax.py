"""JSON or JSON5 text to plain values, with the line, the column and a caret for what cannot be read.

Strict JSON is tried first because its parser is some hundred times faster; comments, bare keys and
trailing commas make the JSON5 parser read the text. Both keep to what a configuration can mean: no key
twice in an object, finite numbers, text that can be written as UTF-8, at most `MAX_DEPTH` levels.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from openclaw_twisted.config.findings import Findings, at
from openclaw_twisted.errors import ConfigError, Problem

__all__ = ["MAX_DEPTH", "decode"]

MAX_DEPTH = 64

_JSON5_ERROR = re.compile(r".*?:(\d+) (Unexpected .*) at column (\d+)", re.DOTALL)
_QUOTED_VALUE = re.compile(r"""(["'])((?:\\.|(?!\1).)*)(\1|$)(?!\s*:)""")
_BARE_VALUE = re.compile(r"""[^\s,:{}\[\]"'*]{9,}(?!\s*:)""")


class _Doubled(dict[str, Any]):
    """An object in which some keys stood more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.doubled = sorted({key for key in keys if keys.count(key) > 1})


def decode(text: str, source: str) -> Any:
    """Return the plain values that the text stands for.

    Raises `ConfigError`, whose problems name lines, or paths for what is wrong with a value.
    """
    try:
        tree = _parse(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ConfigError(source, (Problem("", f"more than {MAX_DEPTH} levels deep"),)) from None
    except ValueError as error:
        raise ConfigError(source, (_explained(text, str(error)),)) from None
    findings = Findings()
    _check(tree, "", 1, findings)
    if findings.problems:
        raise ConfigError(source, tuple(findings.problems))
    return tree


def _parse(text: str) -> Any:
    """Read strict JSON, else JSON5; raises ValueError or RecursionError."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError:
        import json5  # a megabyte that a file of plain JSON does without

        return json5.loads(text, object_pairs_hook=_object)


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    listed = list(pairs)
    plain = dict(listed)
    return plain if len(plain) == len(listed) else _Doubled(listed)


def _explained(text: str, error: str) -> Problem:
    """Put what the parser said next to the line it said it about."""
    if not text.strip():
        return Problem("", "the file is empty; write {} for all defaults")
    found = _JSON5_ERROR.fullmatch(error)
    if found is None:
        return Problem("", error)
    row, column = int(found[1]), int(found[3])
    # the parser counts only \n as the end of a line, and so do we
    lines = [*text.split("\n"), ""]
    line = _masked(lines[row - 1].rstrip("\r"))
    return Problem(
        f"line {row}, column {column}",
        f"{_said(found[2])}\n      {line}\n      {' ' * (column - 1)}^",
    )


def _said(message: str) -> str:
    """Return the parser's words, with the most frequent cause."""
    unexpected = message.removeprefix('Unexpected "')[:1]
    hint = "; is a comma missing before it?" if unexpected.isalpha() or unexpected in {'"', "'"} else ""
    return message[:1].lower() + message[1:].replace("\n", "\\n") + hint


def _masked(line: str) -> str:
    """Star out values that could be secrets and keep every column: the line may end up in a log."""
    line = _QUOTED_VALUE.sub(lambda found: found[1] + "*" * len(found[2]) + found[3], line.replace("\t", " "))
    return _BARE_VALUE.sub(lambda found: "*" * len(found[0]), line)


def _check(value: Any, path: str, depth: int, findings: Findings) -> None:
    """Find what a parser accepts and a configuration cannot mean."""
    if isinstance(value, str):
        _check_text(value, path, findings)
    elif isinstance(value, float):
        if not math.isfinite(value):
            findings.refuse(path, "is not a finite number")
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            findings.refuse("", f"more than {MAX_DEPTH} levels deep")
            return
        for key in getattr(value, "doubled", ()):
            findings.refuse(at(path, key), "is given twice; keep one of the two")
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            inside = at(path, key) if isinstance(key, str) else f"{path}[{key}]"
            _check(item, inside, depth + 1, findings)


def _check_text(text: str, path: str, findings: Findings) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            findings.refuse(path, "contains half a surrogate pair, which is no text")
