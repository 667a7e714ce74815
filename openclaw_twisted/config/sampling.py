"""Sampling parameters as settings write them: the `params` maps of agents, models and providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from openclaw_twisted.boundaries import Sampling

__all__ = ["fits", "is_known", "with_defaults"]

_NAMES: Final[Mapping[str, str]] = {
    "topP": "top_p",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "maxTokens": "max_tokens",
    "logitBias": "logit_bias",
    "reasoningEffort": "reasoning_effort",
    "responseFormat": "response_format",
    "parallelToolCalls": "parallel_tool_calls",
    "cacheRetention": "cache_retention",
}
"""OpenClaw's spelling of the names that are written differently on the wire; both are read."""

_TYPES: Final[Mapping[str, Any]] = {field.name: field.type for field in msgspec.structs.fields(Sampling)}


def is_known(name: str) -> bool:
    """Tell whether a parameter is one that models are asked with."""
    return _NAMES.get(name, name) in _TYPES


def fits(name: str, value: object) -> bool:
    """Tell whether a known parameter can have this value; None means that it is unset."""
    try:
        _read(_NAMES.get(name, name), value)
    except msgspec.ValidationError:
        return False
    return True


def with_defaults(asked: Sampling, params: Mapping[str, Any]) -> Sampling:
    """Return what was asked for, completed with the parameters from the settings.

    Those that are not known or do not fit are left out: they were warned about when the settings were read.
    """
    missing: dict[str, Any] = {}
    for written, value in params.items():
        name = _NAMES.get(written, written)
        if name in _TYPES and getattr(asked, name) is None and fits(name, value):
            missing[name] = _read(name, value)
    return msgspec.structs.replace(asked, **missing) if missing else asked


def _read(name: str, value: object) -> Any:
    if name == "stop" and isinstance(value, str):
        return (value,)
    return msgspec.convert(value, _TYPES[name])
