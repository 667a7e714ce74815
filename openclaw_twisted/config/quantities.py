"""Numbers with a meaning and a range: how many, how large, how long."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["Bytes", "Count", "CountOrNone", "Seconds", "SecondsOrOff"]

Count = Annotated[int, Meta(ge=1)]
"""How many: at least one."""

CountOrNone = Annotated[int, Meta(ge=0)]
"""How many, where 0 allows none."""

Bytes = Annotated[int, Meta(ge=1)]
"""A size in bytes."""

Seconds = Annotated[float, Meta(gt=0)]
"""A time that has to pass."""

SecondsOrOff = Annotated[float, Meta(ge=0)]
"""A time, where 0 switches the thing off."""
