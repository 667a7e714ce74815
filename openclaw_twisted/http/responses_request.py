"""The body of a Responses request: JSON bytes in, messages and sampling out.

As in chat requests the structs are the schema: what they do not name is ignored, what they name is checked,
`null` means absent. What would change the answer and cannot be done here (running in the background,
OpenAI's own tools, stored prompts) is refused, because an answer without it would look like one with it.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.content import Message, ToolCall, ToolSpec
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.body import check_depth, decode
from openclaw_twisted.http.conversation import (
    Conversation,
    Count,
    Effort,
    FunctionIn,
    Name,
    check_named,
    check_required,
    tool_specs,
)
from openclaw_twisted.http.parts import ContentLimits, ItemPartIn, read_content, with_content

__all__ = [
    "REFERENCE",
    "AllowedToolsIn",
    "InputItemIn",
    "NamedToolIn",
    "ResponsesRequest",
    "TextFormatIn",
    "conversation_of",
    "parse",
]

REFERENCE = "item_reference"
"""The type of an input item that names an output item of an earlier response by its id."""

_REFUSED = {
    "background": "Runs in the background cannot be asked for here. Leave background out, and stream.",
    "conversation": "Conversations are not kept here. Use previous_response_id or x-openclaw-session-key.",
    "prompt": "Prompts are not stored here. Send the prompt's text as instructions.",
}


# What the functions below demand beyond the types: a message may leave its `type` out, so that the items
# cannot be types of their own, and a function's name has two places.
_TEXT = {"type": "string", "minLength": 1}
_ITEM_FORMS = {
    "anyOf": [
        {"properties": {"type": {"enum": ["message"]}, "role": _TEXT}, "required": ["role"]},
        {
            "properties": {"type": {"enum": ["function_call"]}, "call_id": _TEXT, "name": _TEXT},
            "required": ["type", "call_id", "name"],
        },
        {
            "properties": {"type": {"enum": ["function_call_output"]}, "call_id": _TEXT},
            "required": ["type", "call_id"],
        },
        {"properties": {"type": {"enum": ["reasoning"]}}, "required": ["type"]},
        {"properties": {"type": {"enum": [REFERENCE]}, "id": _TEXT}, "required": ["type", "id"]},
    ]
}
_ANSWERABLE = {
    "contains": {
        "anyOf": [
            {
                "properties": {"type": {"enum": ["message"]}, "role": {"enum": ["user"]}},
                "required": ["role"],
            },
            {"properties": {"type": {"enum": ["function_call_output"]}}, "required": ["type"]},
        ]
    }
}
_NAMED = {
    "anyOf": [
        {"properties": {"name": _TEXT}, "required": ["name"]},
        {"properties": {"function": {"type": "object"}}, "required": ["function"]},
    ]
}
_CHOICE_FORMS = {
    "allOf": [
        {
            "anyOf": [
                {"type": ["string", "null"]},
                {"properties": {"type": {"enum": ["allowed_tools"]}}},
                *_NAMED["anyOf"],
            ]
        }
    ]
}
_FORMAT_FORMS = {
    "allOf": [
        {
            "anyOf": [
                {"type": "null"},
                {"properties": {"type": {"enum": ["text", "json_object"]}}},
                {"properties": {"name": _TEXT, "schema": {"type": "object"}}, "required": ["name", "schema"]},
            ]
        }
    ]
}


class InputItemIn(msgspec.Struct, kw_only=True):
    """One item of the input: a message, a call that a model made, what a call gave, or reasoning.

    `role` and `content` belong to messages, `call_id`, `name` and `arguments` to function calls, `call_id`
    and `output` to what they gave. Reasoning is accepted and not sent to the model. A reference stands for
    the output item that has its `id`.
    """

    type: Annotated[
        str,
        Meta(
            description="`message`, `function_call`, `function_call_output`, `reasoning` or `item_reference`."
        ),
    ] = "message"
    id: str | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[ItemPartIn] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[ItemPartIn] | None = None


class FunctionToolIn(msgspec.Struct, kw_only=True):
    """A tool on offer; functions are the only kind there is.

    The function stands in the tool itself or, as in chat requests, in `function`.
    """

    type: Annotated[str, Meta(extra_json_schema={"enum": ["function"]})]
    name: Name | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    function: FunctionIn | None = None


class AllowedToolIn(msgspec.Struct):
    """The name of a tool that may be called."""

    name: Name
    type: Literal["function"] = "function"


class AllowedToolsIn(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """The only tools that may be called this time, and whether one has to be."""

    tools: Annotated[list[AllowedToolIn], Meta(min_length=1)]
    mode: Literal["auto", "required"] = "auto"


class NamedToolIn(msgspec.Struct, tag_field="type", tag="function"):
    """The function that has to be called; its name stands here or, as in chat requests, in `function`."""

    name: Name | None = None
    function: AllowedToolIn | None = None

    @property
    def chosen(self) -> str | None:
        """The function's name."""
        return self.name or (self.function.name if self.function else None)


class TextFormatIn(msgspec.Struct, omit_defaults=True):
    """The shape that the answer's text has to have."""

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextConfigIn(msgspec.Struct):
    """How the answer's text is to be."""

    format: Annotated[TextFormatIn | None, Meta(extra_json_schema=_FORMAT_FORMS)] = None


class ReasoningIn(msgspec.Struct):
    """How much the model is to think."""

    effort: Effort | None = None


Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """A Responses request as it stands in the body."""

    input: Annotated[
        str
        | Annotated[
            list[Annotated[InputItemIn, Meta(extra_json_schema=_ITEM_FORMS)]],
            Meta(extra_json_schema=_ANSWERABLE),
        ],
        Meta(description="What is said to the model: a text, or a list of items."),
    ]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    user: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_output_tokens: Count | None = None
    reasoning: ReasoningIn | None = None
    text: TextConfigIn | None = None
    tools: list[Annotated[FunctionToolIn, Meta(extra_json_schema=_NAMED)]] | None = None
    tool_choice: Annotated[
        Literal["auto", "none", "required"] | NamedToolIn | AllowedToolsIn | None,
        Meta(extra_json_schema=_CHOICE_FORMS),
    ] = None
    parallel_tool_calls: bool | None = None
    metadata: Metadata | None = None
    truncation: Literal["auto", "disabled"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None

    @property
    def stored(self) -> bool:
        """Whether a later request may continue this response."""
        return self.store is not False

    @property
    def format(self) -> TextFormatIn:
        """The shape of the answer's text."""
        return (self.text and self.text.format) or TextFormatIn("text")


_decoder = msgspec.json.Decoder(ResponsesRequest)


def parse(body: bytes) -> ResponsesRequest:
    """Read a request body.

    Raises `InvalidRequestError` that says what is wrong and where; never quotes the body.
    """
    request = decode(_decoder, body)
    for name, why in _REFUSED.items():
        if getattr(request, name):
            raise InvalidRequestError(why, param=name)
    return request


def conversation_of(request: ResponsesRequest, limits: ContentLimits) -> Conversation:
    """Return what a request, whose references are resolved, says to the model.

    Raises `InvalidRequestError` for what cannot be said.
    """
    tools = _tools(request.tools or ())
    offered, choice = _tool_choice(request, tools)
    return Conversation(
        messages=_messages(request.input, limits),
        instructions=(request.instructions,) if request.instructions else (),
        tools=offered,
        tool_choice=choice,
        sampling=_sampling(request),
    )


def _messages(given: str | list[InputItemIn], limits: ContentLimits) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message(role="user", content=given),)
    messages: list[Message] = []
    for at, item in enumerate(given):
        path = f"input[{at}]"
        match item.type:
            case "message":
                messages.append(_message(item, path, limits))
            case "function_call":
                _add_call(messages, _call(item, path))
            case "function_call_output":
                output = Message(role="tool", tool_call_id=_needed(item.call_id, f"{path}.call_id"))
                messages.append(with_content(output, read_content(item.output, f"{path}.output", limits)))
            case "reasoning":
                pass
            case _:
                raise InvalidRequestError(
                    f"Items of type {_shown(item.type)} are not taken. Send message, function_call, "
                    "function_call_output, reasoning or item_reference items.",
                    param=f"{path}.type",
                )
    if not any(message.role in {"user", "tool"} for message in messages):
        raise InvalidRequestError("Missing user message in `input`.", param="input")
    limits.check_total(messages)
    return tuple(messages)


def _message(item: InputItemIn, path: str, limits: ContentLimits) -> Message:
    content = read_content(item.content, f"{path}.content", limits)
    role = _needed(item.role, f"{path}.role")
    if role in {"user", "assistant"}:
        return with_content(Message(role=role), content)
    if not isinstance(content, str):
        raise InvalidRequestError("System messages hold text only.", param=f"{path}.content")
    return Message(role="system", content=content)


def _call(item: InputItemIn, path: str) -> ToolCall:
    return ToolCall(
        id=_needed(item.call_id, f"{path}.call_id"),
        name=_needed(item.name, f"{path}.name"),
        arguments=item.arguments or "",
    )


def _add_call(messages: list[Message], call: ToolCall) -> None:
    """Add a call to the answer it was part of: calls that follow each other were made together."""
    if messages and messages[-1].role == "assistant":
        last = messages[-1]
        messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
    else:
        messages.append(Message(role="assistant", tool_calls=(call,)))


def _needed(value: Any, param: str) -> Any:
    if not value:
        raise InvalidRequestError(f"{param} is missing.", param=param)
    return value


def _tools(given: Sequence[FunctionToolIn]) -> tuple[ToolSpec, ...]:
    return tool_specs([_function(tool, f"tools[{at}]") for at, tool in enumerate(given)])


def _function(tool: FunctionToolIn, path: str) -> FunctionIn:
    if tool.type != "function":
        raise InvalidRequestError(
            f"Tools of type {_shown(tool.type)} are not run here. Offer functions, and run them yourself.",
            param=f"{path}.type",
        )
    return tool.function or FunctionIn(
        name=_needed(tool.name, f"{path}.name"),
        description=tool.description,
        parameters=tool.parameters,
        strict=tool.strict,
    )


def _shown(kind: str) -> str:
    return kind[:64] if kind.replace("_", "").isalnum() else "another kind"


def _tool_choice(
    request: ResponsesRequest, tools: tuple[ToolSpec, ...]
) -> tuple[tuple[ToolSpec, ...], str | tuple[str, str] | None]:
    """Return the tools to offer and the choice among them."""
    choice = request.tool_choice
    match choice:
        case NamedToolIn():
            name = _needed(choice.chosen, "tool_choice.name")
            check_named(name, tools, "tool_choice")
            return tools, ("function", name)
        case AllowedToolsIn():
            for tool in choice.tools:
                check_named(tool.name, tools, "tool_choice")
            allowed = {tool.name for tool in choice.tools}
            return tuple(tool for tool in tools if tool.name in allowed), choice.mode
        case "required":
            check_required(tools, "tool_choice")
    return tools, choice


def _sampling(request: ResponsesRequest) -> Sampling:
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_output_tokens,
        reasoning_effort=request.reasoning.effort if request.reasoning else None,
        response_format=_response_format(request.format),
        parallel_tool_calls=request.parallel_tool_calls,
    )


def _response_format(given: TextFormatIn) -> dict[str, Any] | None:
    """Return the format as chat completions write it, which is how providers are asked."""
    if given.type == "text":
        return None
    if given.type == "json_object":
        return {"type": "json_object"}
    _needed(given.name, "text.format.name")
    if given.schema is None:
        raise InvalidRequestError("text.format.schema is missing.", param="text.format.schema")
    check_depth(given.schema, "text.format.schema")
    described = msgspec.to_builtins(given)
    return {"type": described.pop("type"), "json_schema": described}
