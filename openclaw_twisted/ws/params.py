"""The params of a method, read into its struct; what is wrong with them, said as OpenClaw says it."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from openclaw_twisted.agents.directory import shown
from openclaw_twisted.errors import InvalidRequestError

__all__ = ["MAX_INTEGER", "NoParams", "explain", "invalid", "read"]

MAX_INTEGER = 2**53 - 1
"""The largest that JavaScript counts to."""

Params = TypeVar("Params")

_NOTHING = b"null"  # what a client means that sends no params
_AT = " - at `$"
_MISSING = "Object missing required field `"
_UNKNOWN = "Object contains unknown field `"
_INDEX = re.compile(r"\[([0-9]*)(?:\.\.\.)?]")  # [0] in arrays, [...] in objects


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to choose."""


def read(method: str, params: msgspec.Raw, decoder: msgspec.json.Decoder[Params]) -> Params:
    """Return a request's params; raises `InvalidRequestError` that names the property that is wrong."""
    try:
        return decoder.decode(b"{}" if memoryview(params) == _NOTHING else params)
    except msgspec.ValidationError as error:
        raise invalid(method, explain(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid(method, "not valid JSON") from None


def invalid(method: str, problem: str) -> InvalidRequestError:
    """Return the error for params of `method` that cannot be used."""
    return InvalidRequestError(f"invalid {method} params: {problem}")


def explain(error: msgspec.ValidationError) -> str:
    """Return msgspec's complaint in the words of a JSON schema validator."""
    complaint, found, path = str(error).rpartition(_AT)
    if not found:
        complaint, path = path, ""
    place = shown(_INDEX.sub(r".\1", path.removesuffix("`")).replace(".", "/"))
    if complaint.startswith(_MISSING):
        return f"{f'at {place}: ' if place else ''}must have required property '{_name(complaint, _MISSING)}'"
    if complaint.startswith(_UNKNOWN):
        return f"at {place or 'root'}: unexpected property '{_name(complaint, _UNKNOWN)}'"
    return f"at {place or 'root'}: {shown(complaint[:1].lower() + complaint[1:])}"


def _name(complaint: str, prefix: str) -> str:
    return shown(complaint.removeprefix(prefix).removesuffix("`"))
