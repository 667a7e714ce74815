"""Small models' tool calls that arrive as text.

A model of half a billion parameters often writes the right call in not quite the agreed form, and the
server then hands it on as text. A whole answer that is one JSON object naming an offered tool is a call:
nobody says such a thing in words.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from openclaw_twisted.content import ToolCall, ToolSpec

__all__ = ["repair_tool_call"]

_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


class _Call(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any] | str = {}


def repair_tool_call(text: str, tools: Sequence[ToolSpec]) -> ToolCall | None:
    """Return the call that an answer's whole text stands for, or None if it is an answer in words.

    The text has to be one JSON object, bare or in a fence, with the `name` of one of `tools`;
    its `arguments` are an object, or the JSON text of one.
    """
    text = text.strip()
    fenced = _FENCE.fullmatch(text)
    try:
        call = msgspec.json.decode(fenced[1] if fenced else text, type=_Call)
        arguments = call.arguments
        if isinstance(arguments, str):
            arguments = msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None
    if call.name not in {tool.name for tool in tools}:
        return None
    return ToolCall(f"call_{uuid.uuid4().hex}", call.name, msgspec.json.encode(arguments).decode())
