r"""Halves of surrogate pairs in JSON text.

Programs that count text in UTF-16, as JavaScript does, cut an emoji in half where they cut a text short, and
write the half as an escape, `\ud83d`. The parsers of browsers and of Python take that. It is no text, though:
it cannot be written as UTF-8, and msgspec refuses the whole document for it. So a half becomes the character
that stands for what cannot be read, which is what encoding it would make of it anywhere
(https://encoding.spec.whatwg.org/#utf-8-encode).
"""

from __future__ import annotations

import re

__all__ = ["without_halves"]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIR_OR_HALF = re.compile(
    rb"(?<!\\)(?P<before>(?:\\\\)*)"  # a backslash behind a backslash begins no escape
    rb"(?:(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def without_halves(text: bytes) -> bytes | None:
    """Return JSON text with U+FFFD for every half of a pair; None when there is none."""
    if _SURROGATE.search(text) is None:
        return None
    mended = _PAIR_OR_HALF.sub(_whole, text)
    return None if mended == text else mended


def _whole(found: re.Match[bytes]) -> bytes:
    return found[0] if found["pair"] else found["before"] + rb"\ufffd"
