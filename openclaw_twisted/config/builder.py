"""Plain values to settings: one walk over the structs' own types, noting every problem on the way.

The structs are the only list of keys there is. What a type cannot say stands beside it: keys that OpenClaw
knows and this gateway does not (`INERT`), keys that it does not act on yet (`PENDING`), a struct that may be
written as text (`_AS_TEXT`), and hints in a field's `Meta(extra=...)`: `duration` is the unit of a bare
number in text that stands for seconds, `size` a number of bytes that may be text, `guards` marks the secrets
that keep others out, `sampling` a map of parameters that models are asked with.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from openclaw_twisted.config import duration, sampling
from openclaw_twisted.config.agent_settings import ModelChoice
from openclaw_twisted.config.findings import Findings, at, did_you_mean
from openclaw_twisted.config.idle import Idle
from openclaw_twisted.config.inert import BOOKKEEPING, INERT
from openclaw_twisted.config.pending import is_idle
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.secret_source import SecretSource
from openclaw_twisted.config.size import size_bytes

__all__ = ["Builder", "forget_types"]

T = TypeVar("T", bound=msgspec.Struct)

_WRONG: Final[Any] = object()
"""Stands for a value that a problem was noted about."""

_AS_TEXT: Final[dict[type, str]] = {ModelChoice: "primary"}

_HINTS: Final[dict[str, str]] = {
    "0.0.0.0": "lan",  # noqa: S104  (a word people write for it, not an address we bind)
    "::": "lan",
    "*": "lan",
    "127.0.0.1": "loopback",
    "localhost": "loopback",
    "::1": "loopback",
}
"""What a host name means where `gateway.bind` takes the name of a network."""


@functools.cache
def _type_of(struct: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(struct)


def forget_types() -> None:
    """Let go of what is known about the types of settings: who reads again finds out again, in 11 ms."""
    _type_of.cache_clear()


def _kind(value: Any) -> str:
    """Name the JSON type of a value; never the value itself, which may be a secret."""
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "text")


class Builder:
    """Builds settings structs from plain values; `idle` collects what has no effect."""

    def __init__(self, findings: Findings, secrets: SecretSource) -> None:
        self._findings = findings
        self._secrets = secrets
        self.idle = Idle()
        self._readers: dict[type[inspect.Type], Callable[[Any, Any, str], Any]] = {
            inspect.AnyType: self._anything,
            inspect.Metadata: self._with_hints,
            inspect.StructType: self._struct,
            inspect.DictType: self._map,
            inspect.VarTupleType: self._list,
            inspect.UnionType: self._union,
            inspect.LiteralType: self._word,
            inspect.StrType: self._text,
            inspect.BoolType: self._switch,
            inspect.IntType: self._whole_number,
            inspect.FloatType: self._number,
            inspect.CustomType: self._secret,
        }

    def build(self, struct: type[T], value: Any, path: str = "") -> T | None:
        """Return the struct, or None when `value` is no object or lacks a required key.

        Wrong values are noted and left at their defaults, so that later checks still see the rest.
        """
        built = self._read(_type_of(struct), value, path)
        return None if built is _WRONG else built

    def _read(self, kind: inspect.Type, value: Any, path: str) -> Any:
        return self._readers[type(kind)](kind, value, path)

    def _refuse(self, path: str, message: str) -> Any:
        self._findings.refuse(path, message)
        return _WRONG

    def _struct(self, kind: inspect.StructType, value: Any, path: str) -> Any:
        short = _AS_TEXT.get(kind.cls)
        if short is not None and isinstance(value, str):
            value = {short: value}
        if not isinstance(value, dict):
            return self._refuse(path, f"must be {'text or ' if short else ''}an object, not {_kind(value)}")
        self._unknown_keys(kind, value, path)
        made: dict[str, Any] = {}
        complete = True
        for field in kind.fields:
            if field.encode_name in value:
                here = at(path, field.encode_name)
                read = self._read(field.type, value[field.encode_name], here)
                if is_idle(kind.cls, field.encode_name, read):
                    self.idle.note(here, (kind.cls, field.name))
                if read is not _WRONG:
                    made[field.name] = read
                    continue
            elif field.required:
                self._refuse(path, f'needs the key "{field.encode_name}"')
            complete = complete and not field.required
        return kind.cls(**made) if complete else _WRONG

    def _unknown_keys(self, kind: inspect.StructType, value: Mapping[str, Any], path: str) -> None:
        known = [field.encode_name for field in kind.fields]
        inert = INERT.get(kind.cls, frozenset())
        for key in value:
            if key in inert:
                self._not_ours(kind.cls, key, path)
            elif key not in known:
                self._refuse(at(path, key), f"is not a known key{did_you_mean(key, [*known, *inert])}")

    def _not_ours(self, struct: type[msgspec.Struct], key: str, path: str) -> None:
        if path:
            self.idle.note(at(path, key), (struct, key))
        elif key not in BOOKKEEPING:
            self.idle.sections.append(key)

    def _map(self, kind: inspect.DictType, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._refuse(path, f"must be an object, not {_kind(value)}")
        read = {key: self._read(kind.value_type, item, at(path, key)) for key, item in value.items()}
        if isinstance(kind.value_type, inspect.CustomType):
            # a secret that cannot be had has been warned about: the map goes without it
            return {key: item for key, item in read.items() if isinstance(item, Secret)}
        return {key: item for key, item in read.items() if item is not _WRONG}

    def _anything(self, kind: inspect.AnyType, value: Any, path: str) -> Any:
        return _plain(value)

    def _list(self, kind: inspect.VarTupleType, value: Any, path: str) -> Any:
        if not isinstance(value, list | tuple):
            return self._refuse(path, f"must be a list, not {_kind(value)}")
        read = [self._read(kind.item_type, item, f"{path}[{i}]") for i, item in enumerate(value)]
        if isinstance(kind.item_type, inspect.CustomType):
            return tuple(item for item in read if isinstance(item, Secret))  # as in a map
        return tuple(item for item in read if item is not _WRONG)

    def _union(self, kind: inspect.UnionType, value: Any, path: str) -> Any:
        if value is None:
            return self._refuse(path, "must not be null; leave the key out for its default")
        for option in kind.types:
            if isinstance(option, inspect.LiteralType) and value in option.values and type(value) is bool:
                return value
        option = next(option for option in kind.types if not isinstance(option, inspect.NoneType))
        return self._read(option, value, path)

    def _word(self, kind: inspect.LiteralType, value: Any, path: str) -> Any:
        if value in kind.values and isinstance(value, str):
            return str(value)
        known = [str(word) for word in kind.values]
        if not isinstance(value, str):
            return self._refuse(path, f"must be one of {', '.join(known)}, not {_kind(value)}")
        hint = _HINTS.get(value)
        meant = f'; did you mean "{hint}"?' if hint in known else did_you_mean(value, known)
        return self._refuse(path, f"must be one of {', '.join(known)}{meant}")

    def _text(self, kind: inspect.StrType, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            return self._refuse(path, f"must be text, not {_kind(value)}")
        if kind.min_length is not None and len(value) < kind.min_length:
            return self._refuse(path, "must not be empty")
        return str(value)

    def _switch(self, kind: inspect.BoolType, value: Any, path: str) -> Any:
        if not isinstance(value, bool):
            return self._refuse(path, f"must be true or false, not {_kind(value)}")
        return value

    def _whole_number(self, kind: inspect.IntType, value: Any, path: str) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return self._refuse(path, f"must be a whole number, not {_described(value)}")
        return self._in_range(kind, value, path)

    def _number(self, kind: inspect.FloatType, value: Any, path: str) -> Any:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return self._refuse(path, f"must be a number, not {_described(value)}")
        if abs(value) > _LARGEST:
            return self._refuse(path, "is too large")
        return self._in_range(kind, float(value), path)

    def _in_range(self, kind: inspect.IntType | inspect.FloatType, value: float, path: str) -> Any:
        if kind.ge is not None and value < kind.ge:
            return self._refuse(path, f"must be at least {kind.ge}")
        if kind.gt is not None and value <= kind.gt:
            return self._refuse(path, f"must be more than {kind.gt}")
        if (kind.le is not None and value > kind.le) or value > _LARGEST:
            return self._refuse(path, f"must be at most {kind.le or _LARGEST}")
        return value

    def _with_hints(self, kind: inspect.Metadata, value: Any, path: str) -> Any:
        hints = kind.extra or {}
        if "guards" in hints:
            return self._secrets.secret(value, path, guards=True)
        if "duration" in hints and isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                value = duration.seconds(value, hints["duration"])
            except ValueError as error:
                return self._refuse(path, str(error))
        if "size" in hints and isinstance(value, str):
            try:
                value = size_bytes(value)
            except ValueError as error:
                return self._refuse(path, str(error))
        if "sampling" in hints and isinstance(value, dict):
            self._parameters(value, path)
        return self._read(kind.type, value, path)

    def _parameters(self, given: Mapping[str, Any], path: str) -> None:
        """Say which parameters of models are none, or cannot be what they are."""
        for name, value in given.items():
            if not sampling.is_known(name):
                self.idle.note(at(path, name), (sampling, name))
            elif not sampling.fits(name, _plain(value)):
                self._findings.warn(at(path, name), "does not fit this parameter and has no effect")

    def _secret(self, kind: inspect.CustomType, value: Any, path: str) -> Any:
        return self._secrets.secret(value, path, guards=False)


_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")

_LARGEST: Final = 2**53
"""The largest number that JSON readers agree about."""


def _plain(value: Any) -> Any:
    """Return the value with plain text in it, which every codec can write."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _described(value: Any) -> str:
    if isinstance(value, float):
        return "a fraction"
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return "text: write it without quotes"
    return _kind(value)
