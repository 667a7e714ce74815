"""JSON bodies: bytes to a struct, or an error that says what is wrong and where, without quoting the body."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from openclaw_twisted.errors import InvalidRequestError

__all__ = ["decode"]

T = TypeVar("T")

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Read a body; raises `InvalidRequestError` with the path of the wrong value as `param`."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequestError("The request body is not valid JSON. Send one JSON object.") from None


def _wrong_value(message: str) -> InvalidRequestError:
    found = _WHERE.match(message)
    assert found is not None  # the expression matches any text
    path = (found["path"] or "").removeprefix("$").removeprefix(".") or None
    where = f" in {path}" if path else ""
    return InvalidRequestError(f"Invalid value{where}: {found['what']}.", param=path)
