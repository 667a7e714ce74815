"""How hard to think: OpenClaw's levels, as models are told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["effort_of"]

# What reasoning models understand; those who let the model decide are not told anything.
_EFFORT: Final[Mapping[str, str]] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
    "ultra": "xhigh",
}


def effort_of(level: str | None) -> str | None:
    """Return the `reasoning_effort` of a thinking level; None leaves it to the model."""
    return None if level is None else _EFFORT.get(level)
