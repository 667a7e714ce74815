"""How an agent's models are asked to answer, unless the caller says otherwise: the `params` settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from openclaw_twisted.boundaries import Sampling

__all__ = ["with_defaults"]

_NAMES = {
    "temperature": "temperature",
    "topP": "top_p",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "seed": "seed",
    "stop": "stop",
    "maxTokens": "max_tokens",
    "reasoningEffort": "reasoning_effort",
}


def with_defaults(asked: Sampling, params: Mapping[str, Any]) -> Sampling:
    """Return what was asked for, completed with the parameters from the settings.

    Parameters that are not sampling are other parts' to read; values of the wrong type are left out.
    """
    given = {_NAMES.get(name, name): value for name, value in params.items() if value is not None}
    missing = {}
    for field in msgspec.structs.fields(Sampling):
        if field.name in given and getattr(asked, field.name) is None:
            try:
                missing[field.name] = msgspec.convert(given[field.name], field.type)
            except msgspec.ValidationError:
                continue
    return msgspec.structs.replace(asked, **missing) if missing else asked
