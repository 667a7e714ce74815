"""What a Responses request says to the model: its items as messages, its tools, its sampling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.content import Message, ToolCall, ToolSpec, text_of
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.body import check_depth
from openclaw_twisted.http.conversation import (
    Conversation,
    FunctionIn,
    asking,
    check_named,
    check_required,
    instructed,
    tool_specs,
)
from openclaw_twisted.http.namespaces import name_within
from openclaw_twisted.http.parts import (
    Content,
    ContentLimits,
    content_of,
    joined,
    read_content,
    with_parts,
)
from openclaw_twisted.http.responses_request import (
    NAMESPACE,
    AllowedToolsIn,
    FunctionToolIn,
    InputItemIn,
    NamedToolIn,
    ResponsesRequest,
    ResponseToolIn,
    TextFormatIn,
)

__all__ = ["conversation_of"]


def conversation_of(request: ResponsesRequest, limits: ContentLimits) -> Conversation:
    """Return what a request, whose references are resolved, says to the model.

    Raises `InvalidRequestError` for what cannot be said.
    """
    tools = _tools(request.tools or ())
    offered, choice = _tool_choice(request, tools)
    return Conversation(
        messages=_messages(request.input, limits),
        instructions=tuple(filter(None, (request.instructions, *_namespace_notes(request.tools or ())))),
        tools=offered,
        tool_choice=choice,
        sampling=_sampling(request),
    )


def _messages(given: str | list[InputItemIn], limits: ContentLimits) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message(role="user", content=given),)
    said: list[Message] = []
    for at, item in enumerate(given):
        path = f"input[{at}]"
        match item.type:
            case "message":
                said.append(_message(item, path, limits))
            case "function_call":
                said.append(Message(role="assistant", tool_calls=(_call(item, path),)))
            case "function_call_output":
                answered = _needed(item.call_id, f"{path}.call_id")
                output = read_content(item.output, f"{path}.output", limits)
                said.append(_saying(output, Message(role="tool", tool_call_id=answered)))
            case "reasoning":
                pass
            case _:
                raise InvalidRequestError(
                    f"Items of type {_shown(item.type)} are not taken. Send message, function_call, "
                    "function_call_output, reasoning or item_reference items.",
                    param=f"{path}.type",
                )
    _let_instructions_ask(said)
    if not any(message.role in {"user", "tool"} for message in said):
        raise InvalidRequestError("Missing user message in `input`.", param="input")
    limits.check_total(said)
    return tuple(_with_results(_in_answers(said)))


def _let_instructions_ask(said: list[Message]) -> None:
    """Make a question of the system messages at the end if nobody else asks anything."""
    begins = len(said) - asking(message.role for message in reversed(said))
    texts = [text for message in said[begins:] if (text := text_of(message))]
    if texts:
        said[begins:] = [instructed(texts)]


def _message(item: InputItemIn, path: str, limits: ContentLimits) -> Message:
    content = read_content(item.content, f"{path}.content", limits)
    role = _needed(item.role, f"{path}.role")
    if role in {"user", "assistant"}:
        return _saying(content, Message(role=role))
    if not isinstance(content, str):
        raise InvalidRequestError("System messages hold text only.", param=f"{path}.content")
    return Message(role="system", content=content)


def _saying(content: Content, message: Message) -> Message:
    return replace(message, content=content) if isinstance(content, str) else with_parts(message, content)


def _call(item: InputItemIn, path: str) -> ToolCall:
    name = _needed(item.name, f"{path}.name")
    return ToolCall(
        id=_needed(item.call_id, f"{path}.call_id"),
        name=name_within(item.namespace, name) if item.namespace else name,
        arguments=item.arguments or "",
    )


def _in_answers(said: Sequence[Message]) -> Iterator[Message]:
    """Put together what models said in one answer: calls that follow each other, and the words around them.

    Words that come after calls stand before the results in what a response gives as its output.
    """
    answer: list[Message] = []
    for message in said:
        goes_on = message.tool_calls or len(answer) > 1 or (answer and answer[0].tool_calls)
        if answer and not (message.role == "assistant" and goes_on):
            yield _together(answer)
            answer = []
        if message.role == "assistant":
            answer.append(message)
        else:
            yield message
    if answer:
        yield _together(answer)


def _together(answer: Sequence[Message]) -> Message:
    if len(answer) == 1:
        return answer[0]
    whole = Message(role="assistant", tool_calls=tuple(call for said in answer for call in said.tool_calls))
    return _saying(joined([content for said in answer if (content := content_of(said))]), whole)


def _with_results(messages: Iterable[Message]) -> Iterator[Message]:
    """Put what a call gave behind the call, whatever was said meanwhile; ids tie them, not places.

    What earlier calls gave, which the session knows and the request does not repeat, goes before all else.
    """
    earlier: list[Message] = []
    rounds: list[list[Message]] = []
    open_calls: dict[str, list[Message] | None] = {}
    for message in messages:
        call_id = message.tool_call_id or ""
        place = open_calls.get(call_id, earlier) if message.role == "tool" else None
        if place is None:  # no result, or a second one of its call
            rounds.append([message])
            open_calls.update((call.id, rounds[-1]) for call in message.tool_calls)
            continue
        place.append(message)
        if place is not earlier:
            open_calls[call_id] = None
    return chain(earlier, *rounds)


def _needed(value: Any, param: str) -> Any:
    if not value:
        raise InvalidRequestError(f"{param} is missing.", param=param)
    return value


def _tools(given: Sequence[ResponseToolIn]) -> tuple[ToolSpec, ...]:
    functions: list[FunctionIn] = []
    for at, tool in enumerate(given):
        if tool.type == NAMESPACE:
            functions += _members(tool, f"tools[{at}]")
        else:
            functions.append(_function(tool, f"tools[{at}]"))
    return tool_specs(functions)


def _members(namespace: ResponseToolIn, path: str) -> list[FunctionIn]:
    """Return the functions of a namespace, by the names that models know them by."""
    within = _needed(namespace.name, f"{path}.name")
    if namespace.tools is None:
        raise InvalidRequestError(f"{path}.tools is missing.", param=f"{path}.tools")
    functions = (_function(tool, f"{path}.tools[{at}]") for at, tool in enumerate(namespace.tools))
    return [replace(function, name=name_within(within, function.name)) for function in functions]


def _namespace_notes(given: Sequence[ResponseToolIn]) -> Iterator[str]:
    """Tell what namespaces are for, which has no place in a function's own description."""
    for tool in given:
        if tool.type == NAMESPACE and tool.description:
            yield f"The tools whose names begin with {tool.name}__: {tool.description}"


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
            check_named((name,), tools, "tool_choice")
            return tools, ("function", name)
        case AllowedToolsIn():
            allowed = {tool.name for tool in choice.tools}
            check_named(allowed, tools, "tool_choice")
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
