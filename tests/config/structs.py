"""A walk over the settings structs: every key there is, with the path of its section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from openclaw_twisted.config.pending import PENDING

__all__ = ["Key", "keys"]


class Key(NamedTuple):
    """A field of a settings struct, with the path of the section it stands in.

    `pending` tells that it, or a section round it, is not in effect yet.
    """

    section: str
    owner: type[msgspec.Struct]
    field: inspect.Field
    inner: type[msgspec.Struct] | None
    pending: bool


def keys(struct: type[msgspec.Struct], section: str = "") -> Iterator[Key]:
    """Yield every key there is, each struct once."""
    seen = set[type]()

    def inside(kind: inspect.StructType, section: str, *, pending: bool) -> Iterator[Key]:
        seen.add(kind.cls)
        for field in kind.fields:
            inner, suffix = struct_in(field.type)
            idle = pending or field.encode_name in PENDING.get(kind.cls, {})
            yield Key(section, kind.cls, field, inner.cls if inner else None, idle)
            if inner and inner.cls not in seen:
                path = f"{section}.{field.encode_name}{suffix}".lstrip(".")
                yield from inside(inner, path, pending=idle)

    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    yield from inside(kind, section, pending=False)


def struct_in(kind: Any) -> tuple[inspect.StructType | None, str]:
    """Return the struct inside a field's type, and what its path gets appended."""
    match kind:
        case inspect.Metadata():
            return struct_in(kind.type)
        case inspect.UnionType():
            return struct_in(next(item for item in kind.types if not isinstance(item, inspect.NoneType)))
        case inspect.DictType():
            return struct_in(kind.value_type)[0], ".<id>"
        case inspect.VarTupleType():
            return struct_in(kind.item_type)[0], "[]"
        case inspect.StructType():
            return kind, ""
    return None, ""
