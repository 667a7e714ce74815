"""Finds in a payload what only protocol 4 may be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from openclaw_twisted.ws.since import SINCE

__all__ = ["newer_keys"]


def newer_keys(hint: Any, value: Any, place: str = "") -> Iterator[str]:
    """Yield where in `value`, a payload of the type `hint` as JSON, there are keys that protocol 3 lacks."""
    if get_origin(hint) is Annotated:
        if any(
            isinstance(meta, Meta) and SINCE in (meta.extra_json_schema or {}) for meta in get_args(hint)[1:]
        ):
            yield place
            return
        hint = get_args(hint)[0]
    if isinstance(hint, type) and issubclass(hint, Struct):
        if isinstance(value, dict):
            hints = get_type_hints(hint, include_extras=True)
            for field in msgspec.structs.fields(hint):
                if field.encode_name in value:
                    inner = value[field.encode_name]
                    yield from newer_keys(hints[field.name], inner, f"{place}/{field.encode_name}")
    elif isinstance(value, list):
        for item in value:
            yield from newer_keys(next(iter(get_args(hint)), None), item, place)
    else:
        for choice in get_args(hint):
            yield from newer_keys(choice, value, place)
