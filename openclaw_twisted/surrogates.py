r"""Halves of surrogate pairs in JSON text.

Programs that count text in UTF-16, as JavaScript does, cut an emoji in half where they cut a text short, and
write the half as an escape, `\ud83d`. The parsers of browsers and of Python take that. It is no text, though:
it cannot be written as UTF-8, and msgspec refuses the whole document for it. So a half becomes the character
that stands for what cannot be read, which is what encoding it would make of it anywhere
(https://encoding.spec.whatwg.org/#utf-8-encode).

Where they cut a text into the pieces of a stream, though, the other half begins the next piece, and whoever
puts the pieces together in JavaScript has the emoji again (`Halves`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["Halves", "without_halves"]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIR_OR_HALF = re.compile(
    rb"(?<!\\)(?P<before>(?:\\\\)*)"  # a backslash behind a backslash begins no escape
    rb"(?:(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def without_halves(text: bytes) -> bytes | None:
    """Return JSON text with U+FFFD for every half of a pair; None when there is none."""
    return _mended(text, _whole)


class Halves:
    """The halves in a text that comes in pieces, each of them a string of a JSON text of its own."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first = b""

    def join(self, text: bytes) -> bytes | None:
        """Return the next JSON text with the pair that a string in it begins with the second half of.

        A first half that a string ends with is left out, and waits for that. Any other becomes U+FFFD. None
        when there is no half.
        """
        return _mended(text, self._whole)

    def _whole(self, found: re.Match[bytes]) -> bytes:
        before = found["before"]
        half = found[0][len(before) :]
        if found["pair"]:
            return found[0]
        if half[3:4] in b"89abAB":
            if found.string[found.end() : found.end() + 1] == b'"':
                self._first = half
                return before
        elif self._first and found.string[found.start() - 1 : found.start()] == b'"' and not before:
            first, self._first = self._first, b""
            return first + half
        return before + rb"\ufffd"


def _mended(text: bytes, whole: Callable[[re.Match[bytes]], bytes]) -> bytes | None:
    if _SURROGATE.search(text) is None:
        return None
    mended = _PAIR_OR_HALF.sub(whole, text)
    return None if mended == text else mended


def _whole(found: re.Match[bytes]) -> bytes:
    return found[0] if found["pair"] else found["before"] + rb"\ufffd"
