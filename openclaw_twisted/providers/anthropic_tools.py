"""The wire of the tools that Anthropic's Messages API is offered, and of the choice among them."""

from __future__ import annotations

from typing import Any

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.config.settings import CompatSettings
from openclaw_twisted.content import ToolSpec
from openclaw_twisted.providers.anthropic_conversation import Block, tool_names
from openclaw_twisted.providers.claude_models import Claude

__all__ = ["offer_tools"]


def offer_tools(
    body: dict[str, Any], request: ModelRequest, compat: CompatSettings, model: Claude
) -> list[Block]:
    """Put the tools into `body`; return what has to be said because it cannot be demanded."""
    offered = request.tools if compat.supports_tools is not False else ()
    choice: dict[str, Any] = {"type": "none"}
    demand: list[Block] = []
    if request.tool_choice == "none" or not offered:
        # A conversation with calls in it is refused when the request has no tools.
        called = tool_names(request.messages)
        if not called:
            return []
        offered = offered or tuple(ToolSpec(name) for name in called)
    else:
        choice, demand = _tool_choice(request.tool_choice, model)
        if request.sampling.parallel_tool_calls is False:
            choice["disable_parallel_tool_use"] = True
    strict = model.schemas and compat.supports_strict_mode is not False
    body["tools"] = [_tool(tool, strict=strict) for tool in offered]
    body["tool_choice"] = choice
    return demand


def _tool(tool: ToolSpec, *, strict: bool) -> Block:
    wire: Block = {"name": tool.name, "input_schema": {"type": "object", **(tool.parameters or {})}}
    if tool.description:
        wire["description"] = tool.description
    if strict and tool.strict:
        wire["strict"] = True
    return wire


def _tool_choice(asked: str | tuple[str, str] | None, model: Claude) -> tuple[dict[str, Any], list[Block]]:
    if asked is None or asked == "auto":
        return {"type": "auto"}, []
    if model.forced:
        return ({"type": "any"} if isinstance(asked, str) else {"type": "tool", "name": asked[1]}), []
    which = "one of the tools" if isinstance(asked, str) else f"the tool `{asked[1]}`"
    return {"type": "auto"}, [{"type": "text", "text": f"Answer with a call of {which}."}]
