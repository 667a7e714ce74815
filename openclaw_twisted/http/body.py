"""JSON bodies: bytes to a struct, or an error that says what is wrong and where, without quoting the body."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.surrogates import without_halves

__all__ = ["MAX_INTEGER", "MIN_INTEGER", "check_depth", "decode"]

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""The integers that all who pass them on can write down."""

T = TypeVar("T")

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
_NOT_LISTED = re.compile(r"Invalid (?:enum )?value .+", re.DOTALL)

# Editors and shells of Windows begin a file with it. JSON that is sent must not have it:
# https://www.rfc-editor.org/rfc/rfc8259#section-8.1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MAX_REREAD_BYTES = 256 * 1024
MAX_DEPTH = 100


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw, *, within: str = "") -> T:
    """Read a body, or what it holds at the path `within`.

    Raises `InvalidRequestError` with the path of the wrong value as `param`.
    """
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error) or len(memoryview(body)) > MAX_REREAD_BYTES:
                raise
            # 5.0 is an integer to JSON Schema and to some languages' encoders, but not to msgspec.
            return msgspec.convert(_whole(msgspec.json.decode(body)), decoder.type)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error), within) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = bytes(body)
        mended = without_halves(text)
        if mended is not None:
            return decode(decoder, mended, within=within)
        raise _unreadable(text) from None


def check_depth(value: Any, param: str) -> None:
    """Raise `InvalidRequestError` for JSON nested so deep that it could not be written again on its way."""
    level = [value]
    for _ in range(MAX_DEPTH):
        objects = (item.values() if isinstance(item, dict) else item for item in level)
        level = [inner for held in objects for inner in held if isinstance(inner, dict | list)]
        if not level:
            return
    raise InvalidRequestError(f"{param} is nested more than {MAX_DEPTH} levels deep.", param=param)


def _unreadable(text: bytes) -> InvalidRequestError:
    if text.startswith(_BYTE_ORDER_MARK):
        return InvalidRequestError("The request body begins with a byte order mark. Send UTF-8 without one.")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return InvalidRequestError("The request body is not in UTF-8. Send the JSON in that encoding.")
    return InvalidRequestError("The request body is not valid JSON. Send one JSON object.")


def _whole(value: Any) -> Any:
    """Return JSON with its integers as such, however they were written."""
    if isinstance(value, float) and value.is_integer() and MIN_INTEGER <= value < MAX_INTEGER:
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return value


def _wrong_value(message: str, within: str) -> InvalidRequestError:
    found = _WHERE.match(message)
    assert found is not None  # the expression matches any text
    path, what = within + (found["path"] or "").removeprefix("$"), found["what"]
    missing = _MISSING.fullmatch(what)
    if missing is not None:
        path = f"{path}.{missing['field']}".removeprefix(".")
        return InvalidRequestError(f"{path} is missing.", param=path)
    if _NOT_LISTED.fullmatch(what):  # msgspec quotes the value, whatever its length
        what = "Not one of the allowed values"
    path = path.removeprefix(".")
    where = f" in {path}" if path else ""
    return InvalidRequestError(f"Invalid value{where}: {what}.", param=path or None)
