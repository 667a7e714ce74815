"""The `.env` file of the state directory: `NAME=value` lines for keys that stand nowhere else."""

from __future__ import annotations

import re

__all__ = ["variables"]

_LINE = re.compile(
    r"""\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?: "((?:[^"\\]|\\.)*)" | '([^']*)' | ([^\n]*?) )
    \s*(?:\s\#.*)?""",
    re.VERBOSE,
)


_ESCAPED = {"n": "\n", "r": "\r", '"': '"'}


def variables(text: str) -> dict[str, str]:
    r"""Return the variables that the text sets; lines that set nothing are passed over.

    Double quotes know `\n`, `\r` and `\"` and keep every other backslash, as OpenClaw's reader does; single
    quotes take everything as it stands, and without quotes ` #` begins a comment.
    """
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        match = _LINE.fullmatch(line)
        if match:
            name, double, single, bare = match.groups()
            found[name] = _unescaped(double) if double is not None else single or bare or ""
    return found


def _unescaped(text: str) -> str:
    return re.sub(r'\\([nr"])', lambda found: _ESCAPED[found[1]], text)
