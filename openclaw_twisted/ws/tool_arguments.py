"""The arguments of a tool call, as the model wrote them: JSON, or what it takes for JSON."""

from __future__ import annotations

import msgspec

__all__ = ["told_arguments"]


def told_arguments(text: str) -> msgspec.Raw | str:
    """Return arguments as they are told: JSON as it was written, what cannot be read as the text it is.

    What can just be read may be nested too deep to be written down again.
    """
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return msgspec.Raw(text)
