"""The body of a chat completion request: JSON bytes in, messages and sampling out.

The structs are the schema, and `openapi` publishes them: what they do not name is ignored, because clients
send many fields that concern only OpenAI; what they name is checked, and a wrong value is reported with its
path. `null` means absent throughout. https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.content import Message, ToolCall, ToolSpec
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.body import MAX_INTEGER, MIN_INTEGER, check_depth, decode
from openclaw_twisted.http.conversation import (
    Conversation,
    Count,
    Effort,
    FunctionIn,
    Name,
    asking,
    check_named,
    check_required,
    instructed,
    tool_specs,
)
from openclaw_twisted.http.parts import Content, ContentLimits, PartIn, TextPartIn, read_content, with_parts

__all__ = ["ChatRequest", "parse"]

MAX_STOPS = 4
MAX_WHOLE_BYTES = 512 * 1024

Stop = Annotated[str, Meta(min_length=1)]


class ToolIn(msgspec.Struct):
    """A tool on offer; functions are the only kind there is."""

    function: FunctionIn
    type: Literal["function"] | None = "function"


class CalledIn(msgspec.Struct):
    """The function that an earlier message called; OpenClaw takes arguments that are no text too."""

    name: str
    arguments: str | dict[str, Any] | None = ""

    @property
    def written(self) -> str:
        """The arguments as text."""
        given = self.arguments
        if not isinstance(given, dict):
            return given or ""
        check_depth(given, "messages")
        return msgspec.json.encode(given).decode()


class ToolCallIn(msgspec.Struct):
    """A call in an earlier assistant message."""

    id: str
    function: CalledIn
    type: Literal["function"] | None = "function"


class ChosenIn(msgspec.Struct):
    """The name inside a named tool choice."""

    name: Name


class PermittedToolIn(msgspec.Struct):
    """One of the tools that may be called."""

    function: ChosenIn
    type: Literal["function"] = "function"


class PermittedToolsIn(msgspec.Struct):
    """The only tools that may be called this time, and whether one has to be."""

    tools: Annotated[list[PermittedToolIn], Meta(min_length=1)]
    mode: Literal["auto", "required"] = "auto"


class ToolChoiceIn(msgspec.Struct):
    """The tool that has to be called, or those that may be."""

    function: ChosenIn | None = None
    allowed_tools: PermittedToolsIn | None = None
    type: Literal["function", "allowed_tools"] = "function"


# `_offer` refuses a choice without what its type names.
_CHOICE_FORMS = {
    "anyOf": [
        {"type": ["string", "null"]},
        *(
            {
                "properties": {"type": {"enum": [kind]}, kind: {"type": "object"}},
                "required": required,
            }
            for kind, required in (("function", ["function"]), ("allowed_tools", ["type", "allowed_tools"]))
        ),
    ]
}


class SystemIn(msgspec.Struct, tag_field="role", tag="system"):
    """What the client tells the model to be, after the agent's own system prompt."""

    content: str | list[TextPartIn] | None = None
    name: str | None = None


class DeveloperIn(SystemIn, tag_field="role", tag="developer"):
    """The same, as newer clients call it."""


class UserIn(msgspec.Struct, tag_field="role", tag="user"):
    """What the user says."""

    content: str | list[PartIn] | None = None
    name: str | None = None


class AssistantIn(msgspec.Struct, tag_field="role", tag="assistant"):
    """What the model said before; `function_call` is the form of its calls before there were tools."""

    content: str | list[PartIn] | None = None
    name: str | None = None
    tool_calls: list[ToolCallIn] | None = None
    function_call: CalledIn | None = None


class ToolResultIn(msgspec.Struct, tag_field="role", tag="tool"):
    """What a call gave."""

    tool_call_id: Annotated[str, Meta(min_length=1)]
    content: str | list[PartIn] | None = None
    name: str | None = None


class FunctionResultIn(msgspec.Struct, tag_field="role", tag="function"):
    """What a call gave, as before there were tools."""

    name: Annotated[str, Meta(min_length=1)]
    content: str | list[PartIn] | None = None


MessageIn = SystemIn | DeveloperIn | UserIn | AssistantIn | ToolResultIn | FunctionResultIn
"""One message of the conversation."""

# `_messages` refuses what has none of these: there would be nothing to answer.
_ANSWERABLE = {"contains": {"properties": {"role": {"enum": ["user", "tool", "function"]}}}}


class StreamOptionsIn(msgspec.Struct):
    """What a stream brings beside the answer."""

    include_usage: bool | None = None


class ResponseFormatIn(msgspec.Struct, omit_defaults=True):
    """The shape that the answer has to have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """A chat completion request as it stands in the body."""

    messages: Annotated[list[MessageIn], Meta(min_length=1, extra_json_schema=_ANSWERABLE)]
    model: str | None = None
    user: str | None = None
    stream: bool | None = None
    stream_options: StreamOptionsIn | None = None
    n: Annotated[int, Meta(extra_json_schema={"enum": [1]})] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=MIN_INTEGER, le=MAX_INTEGER)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=MAX_STOPS)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormatIn | None = None
    parallel_tool_calls: bool | None = None
    tools: list[ToolIn] | None = None
    tool_choice: Annotated[
        Literal["auto", "none", "required"] | ToolChoiceIn | None,
        Meta(extra_json_schema={"allOf": [_CHOICE_FORMS]}),
    ] = None
    functions: list[FunctionIn] | None = None
    function_call: Literal["auto", "none"] | ChosenIn | None = None

    @property
    def legacy(self) -> bool:
        """Whether the client speaks of functions, as all did before there were tools."""
        return self.functions is not None and not self.tools

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts the tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class _Unread(ChatRequest):
    """A request whose messages are still text."""

    messages: Annotated[list[msgspec.Raw], Meta(min_length=1)]  # type: ignore[assignment]  # until they are read


_decoder = msgspec.json.Decoder(ChatRequest)
_unread_decoder = msgspec.json.Decoder(_Unread)
_message_decoder = msgspec.json.Decoder(MessageIn)


def parse(body: bytes, limits: ContentLimits) -> tuple[ChatRequest, Conversation]:
    """Read a request body.

    Raises `InvalidRequestError` that says what is wrong and where; never quotes the body.
    """
    request = decode(_decoder, body) if len(body) <= MAX_WHOLE_BYTES else _in_pieces(body)
    if request.n not in {None, 1}:
        raise InvalidRequestError("Only one choice can be asked for: leave n out or set it to 1.", param="n")
    tools, tool_choice = _offer(request)
    instructions = _instructions(request.messages, limits)
    standing = len(instructions) - asking(map(_role, reversed(request.messages)))
    return request, Conversation(
        messages=_messages(request.messages, limits, instructions[standing:]),
        instructions=instructions[:standing],
        tools=tools,
        tool_choice=tool_choice,
        sampling=_sampling(request),
    )


def _in_pieces(body: bytes) -> ChatRequest:
    """Read the messages one by one: no thread goes on while msgspec reads, which takes it long for many."""
    request: Any = decode(_unread_decoder, body)
    request.messages = [
        decode(_message_decoder, text, within=f"messages[{at}]") for at, text in enumerate(request.messages)
    ]
    read: ChatRequest = request
    return read


def _messages(given: list[MessageIn], limits: ContentLimits, asked: tuple[str, ...]) -> tuple[Message, ...]:
    messages = tuple(
        _message(message, at, limits) for at, message in enumerate(given) if not isinstance(message, SystemIn)
    )
    if any(asked):
        messages = (*messages, instructed([text for text in asked if text]))
    if not any(message.role in {"user", "tool"} for message in messages):
        raise InvalidRequestError("Missing user message in `messages`.", param="messages")
    limits.check_total(messages)
    return messages


def _message(given: MessageIn, at: int, limits: ContentLimits) -> Message:
    content = _content(given, at, limits)
    text = content if isinstance(content, str) else ""
    match given:
        case UserIn():
            message = Message(role="user", content=text, name=given.name)
        case AssistantIn():
            message = Message(role="assistant", content=text, tool_calls=_calls(given), name=given.name)
        case ToolResultIn():
            message = Message(role="tool", content=text, tool_call_id=given.tool_call_id, name=given.name)
        case FunctionResultIn():
            message = Message(role="tool", content=text, tool_call_id=_legacy_id(given.name), name=given.name)
        case _:  # instructions are read elsewhere
            raise AssertionError
    return message if isinstance(content, str) else with_parts(message, content)


def _content(given: MessageIn, at: int, limits: ContentLimits) -> Content:
    content = given.content
    return content if isinstance(content, str) else read_content(content, f"messages[{at}].content", limits)


def _calls(given: AssistantIn) -> tuple[ToolCall, ...]:
    if given.function_call is not None and not given.tool_calls:
        call = given.function_call
        return (ToolCall(id=_legacy_id(call.name), name=call.name, arguments=call.written),)
    if not given.tool_calls:
        return ()
    return tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.written)
        for call in given.tool_calls
    )


def _legacy_id(name: str) -> str:
    """Return the id that ties a function's result to its call: legacy messages have only the name."""
    return f"call_{name}"


def _role(given: MessageIn) -> str:
    if isinstance(given, SystemIn):
        return "system"
    return "assistant" if isinstance(given, AssistantIn) else "user"


def _instructions(given: list[MessageIn], limits: ContentLimits) -> tuple[str, ...]:
    texts = (
        _content(message, at, limits) for at, message in enumerate(given) if isinstance(message, SystemIn)
    )
    return tuple(text for text in texts if isinstance(text, str))


def _tools(request: ChatRequest) -> tuple[ToolSpec, ...]:
    return tool_specs([tool.function for tool in request.tools or ()] or request.functions or [])


def _offer(request: ChatRequest) -> tuple[tuple[ToolSpec, ...], str | tuple[str, str] | None]:
    """Return the tools, and the choice among them."""
    tools, given = _tools(request), request.tool_choice
    if not isinstance(given, ToolChoiceIn):
        return tools, _tool_choice(request, given, tools)
    if given.type == "function":
        if given.function is None:
            raise _missing("tool_choice.function")
        return tools, _tool_choice(request, given.function, tools)
    if given.allowed_tools is None:
        raise _missing("tool_choice.allowed_tools")
    allowed = {tool.function.name for tool in given.allowed_tools.tools}
    check_named(allowed, tools, "tool_choice")
    return tuple(tool for tool in tools if tool.name in allowed), given.allowed_tools.mode


def _missing(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"{param} is missing.", param=param)


def _tool_choice(
    request: ChatRequest, choice: str | ChosenIn | None, tools: tuple[ToolSpec, ...]
) -> str | tuple[str, str] | None:
    param = "tool_choice"
    if choice is None and request.legacy:
        choice, param = request.function_call, "function_call"
    if isinstance(choice, ChosenIn):
        check_named((choice.name,), tools, param)
        return ("function", choice.name)
    if choice == "required":
        check_required(tools, param)
    return choice


def _sampling(request: ChatRequest) -> Sampling:
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        seed=request.seed,
        stop=stop or None,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        logit_bias=request.logit_bias,
        reasoning_effort=request.reasoning_effort,
        response_format=_response_format(request.response_format),
        # A legacy answer has room for one call.
        parallel_tool_calls=False if request.legacy else request.parallel_tool_calls,
    )


def _response_format(given: ResponseFormatIn | None) -> dict[str, Any] | None:
    if given is None:
        return None
    check_depth(given.json_schema or {}, "response_format.json_schema")
    told: dict[str, Any] = msgspec.to_builtins(given)
    return told
