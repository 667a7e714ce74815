"""How a Claude model is made to think before it answers: the caller's effort in the model's own terms.

A newer model chooses how much it thinks, guided by an effort. An older one is given a budget, which is part
of what the answer may have, and is strict: it must be shown the thinking behind the calls whose results it
gets, and may not be made to call. Thinking is signed, and not kept here, so such a model goes on from a
tool's result without.
https://platform.claude.com/docs/en/build-with-claude/thinking
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.content import Message
from openclaw_twisted.providers.claude_models import Claude

__all__ = ["think"]

MIN_BUDGET_TOKENS = 1024
MIN_ANSWER_TOKENS = 1024
DEFAULT_BUDGET_TOKENS = 8192

_BUDGET_TOKENS: Final[Mapping[str, int]] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
    "ultra": 32_768,
}
_LADDER: Final = ("low", "medium", "high", "xhigh", "max")
_NONE: Final = ("none", "off")


def think(body: dict[str, Any], request: ModelRequest, model: Claude) -> None:
    """Put into `body` how hard the model is to think; without an effort that is the model's choice."""
    effort = request.sampling.reasoning_effort
    if effort is None:
        return
    if effort in _NONE:
        _think_not(body, model)
    elif body.get("tool_choice", {}).get("type") in {"any", "tool"}:
        return  # what is demanded needs no thought, and some refuse the two together
    elif model.adaptive:
        # Whether it is shown is another matter since 4.7, and the answer to it is no unless asked.
        body["thinking"] = {"type": "adaptive", **({} if model.sampling else {"display": "summarized"})}
        if level := _level(effort, model.efforts):
            body.setdefault("output_config", {})["effort"] = level
    elif not _in_a_tool_round(request.messages):
        wanted = _BUDGET_TOKENS.get(effort, DEFAULT_BUDGET_TOKENS)
        budget = min(wanted, body["max_tokens"] - MIN_ANSWER_TOKENS)
        if budget >= MIN_BUDGET_TOKENS:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _think_not(body: dict[str, Any], model: Claude) -> None:
    if model.off is not None:
        body["thinking"] = {"type": model.off}
    elif model.always_thinks:
        body.setdefault("output_config", {})["effort"] = _LADDER[0]


def _level(effort: str, known: Sequence[str]) -> str | None:
    """Return the model's nearest level that is no higher; None leaves it to the model."""
    effort = {"minimal": "low", "ultra": "max"}.get(effort, effort)
    if effort not in _LADDER:
        return None
    return [level for level in known if _LADDER.index(level) <= _LADDER.index(effort)][-1]


def _in_a_tool_round(messages: Sequence[Message]) -> bool:
    for message in reversed(messages):
        if message.role == "assistant":
            return bool(message.tool_calls)
    return False
