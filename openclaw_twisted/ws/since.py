"""What only clients of protocol 4 are told: version 3 may not get a key that it does not know."""

from __future__ import annotations

from typing import Annotated, TypeVar

from msgspec import Meta, UnsetType

__all__ = ["SINCE", "Since4"]

T = TypeVar("T")

SINCE = "x-openclaw-protocol"
"""The key of a field's JSON schema that names the first protocol whose clients are told of it."""

Since4 = Annotated[T | UnsetType, Meta(extra_json_schema={SINCE: 4})]
"""A key of a payload that stays unset before clients of protocol 3."""
