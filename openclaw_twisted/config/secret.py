"""A secret that prints as `***`: it has to be asked for its text."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping

import msgspec

__all__ = ["Secret", "secrets_in"]


class Secret:
    """A password, token or key. `repr`, `str` and formatting give `***`; no codec writes it by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret text, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._digest(), other._digest())

    def __hash__(self) -> int:
        return hash(self._digest())

    def _digest(self) -> bytes:
        return hashlib.sha256(self._text.encode("utf-8", "surrogatepass")).digest()


def secrets_in(value: object) -> Iterator[str]:
    """Yield the text of every secret inside a value: a struct, a mapping, a sequence, or a secret itself."""
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from secrets_in(item)
