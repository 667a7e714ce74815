"""Makes frames that nobody should send, and many that nearly fit, from what the methods read.

Hypothesis chooses the ingredients: a few values, a name, some bytes. Each of them is tried in every place:
in each param of each method beside params that are right, as the params, as the id, as a whole frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from openclaw_twisted.ws.method import Method

__all__ = ["INGREDIENTS", "Ingredients", "fitting", "frames_of", "request", "shapes_of"]

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "main", "agent::", "agent:main:main", "agent:nobody:x", "/stop", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@dataclass(frozen=True)
class Ingredients:
    """What one round of frames is made of."""

    values: list[Any]
    _: KW_ONLY
    name: str
    data: bytes


INGREDIENTS = st.builds(
    Ingredients,
    st.lists(VALUES, min_size=2, max_size=2),
    name=st.text(max_size=12),
    data=st.binary(max_size=40),
)


def frames_of(given: Ingredients, shapes: dict[str, type[Struct]]) -> Iterator[bytes]:
    """Yield the frames of one round; `shapes` are the params of the methods."""
    yield given.data
    for value in given.values:
        yield written(value)
        for key in ("type", "id", "method", "params", "traceparent", given.name):
            yield written({**request("health", {}), key: value})
    yield written(request(given.name, {}))
    for method, shape in shapes.items():
        right = fitting(shape)
        whole = written(request(method, right))
        yield whole
        yield whole[: len(given.data) * len(whole) // 41]
        yield whole.replace(b'"params"', given.data, 1)
        for at, name in enumerate((*fields(shape), given.name)):
            yield written(request(method, {**right, name: given.values[at % len(given.values)]}))
            without = {key: value for key, value in right.items() if key != name}
            if without != right:
                yield written(request(method, without))


def request(method: str, params: Any) -> dict[str, Any]:
    return {"type": "req", "id": "1", "method": method, "params": params}


def written(frame: Any) -> bytes:
    """Return JSON, or nearly: what Python writes of infinities and lone surrogates is none."""
    return json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass")


def shapes_of(methods: tuple[Method[Any], ...]) -> dict[str, type[Struct]]:
    return {method.name: method.params for method in methods}


def fields(shape: type[Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(shape)]


def fitting(shape: type[Struct]) -> dict[str, Any]:
    """Return params that fit: all that are required, and the optional ones that are simple."""
    hints = get_type_hints(shape, include_extras=True)
    return {
        field.encode_name: _example(field.encode_name, hints[field.name])
        for field in msgspec.structs.fields(shape)
        if field.required or field.encode_name in _ALWAYS
    }


_ALWAYS = {"sessionKey", "key"}
_KNOWN = {"key": "fuzzed", "sessionKey": "fuzzed", "keys": ["fuzzed"], "role": "operator"}


def _example(name: str, hint: Any) -> Any:
    if name in _KNOWN:
        return _KNOWN[name]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _example(name, inner[0])
    if origin in (Union, UnionType):
        return _example(name, inner[0])
    if origin is Literal:
        return inner[0]
    if origin is tuple:
        return []
    if isinstance(hint, type) and issubclass(hint, Struct):
        return fitting(hint)
    return {str: "text", int: 4, float: 1.0, bool: True}.get(hint)
