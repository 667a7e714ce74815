"""What a request says to the model, whichever of OpenAI's APIs it came by, and the rules that both share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.content import Message, ToolSpec
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.body import MAX_INTEGER, check_depth

__all__ = [
    "Conversation",
    "Count",
    "Effort",
    "FunctionIn",
    "Name",
    "asking",
    "check_named",
    "check_required",
    "instructed",
    "tool_specs",
]

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Count = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]


class FunctionIn(msgspec.Struct):
    """A function as a tool offers it."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says to the model: the client's own instructions apart from the messages.

    A message may be a `Draft`, whose images are still to be fetched.
    """

    messages: tuple[Message, ...]
    instructions: tuple[str, ...]
    tools: tuple[ToolSpec, ...]
    tool_choice: str | tuple[str, str] | None
    sampling: Sampling


def asking(newest_first: Iterable[str]) -> int:
    """Return how many system messages at the end are what is to be answered, by the roles of all messages.

    They are where nobody else asks anything: after an answer, and where there is nothing else, the last one.
    """
    count = 0
    for role in newest_first:
        if role != "system":
            return count if role == "assistant" else 0
        count += 1
    return min(count, 1)


def instructed(texts: Sequence[str]) -> Message:
    """Return the user's turn that system messages are which ask (see `asking`).

    Voice agents begin a call like this, and steer it between two questions ("Tell the user that the parcel
    has arrived."). Put at the head of the conversation they would leave the model nothing to answer.
    """
    return Message(role="user", content="<instructions>\n" + "\n\n".join(texts) + "\n</instructions>")


def tool_specs(functions: Sequence[FunctionIn]) -> tuple[ToolSpec, ...]:
    """Return the tools that a request offers.

    Raises `InvalidRequestError` when two share a name or one is nested too deep.
    """
    names = [function.name for function in functions]
    if len(set(names)) < len(names):
        raise InvalidRequestError("Two tools have the same name.", param="tools")
    for function in functions:
        check_depth(function.parameters or {}, "tools")
    return tuple(
        ToolSpec(
            name=function.name,
            description=function.description,
            parameters=function.parameters,
            strict=function.strict,
        )
        for function in functions
    )


def check_required(tools: Sequence[ToolSpec], param: str) -> None:
    """Raise `InvalidRequestError` when a tool has to be called and there is none."""
    if not tools:
        raise InvalidRequestError("tool_choice is required, but no tools are given.", param=param)


def check_named(names: Iterable[str], tools: Sequence[ToolSpec], param: str) -> None:
    """Raise `InvalidRequestError` when one of the tools of these names is not among those given."""
    if not {tool.name for tool in tools}.issuperset(names):
        raise InvalidRequestError(f"{param} names a tool that is not among the tools.", param=param)
