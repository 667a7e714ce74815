"""The body of a Responses request: JSON bytes in, a struct out.

As in chat requests the structs are the schema: what they do not name is ignored, what they name is checked,
`null` means absent. What would change the answer and cannot be done here (running in the background,
OpenAI's own tools, stored prompts) is refused, because an answer without it would look like one with it.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.body import decode
from openclaw_twisted.http.conversation import (
    Count,
    Effort,
    FunctionIn,
    Name,
)
from openclaw_twisted.http.parts import ItemPartIn

__all__ = [
    "NAMESPACE",
    "REFERENCE",
    "AllowedToolsIn",
    "FunctionToolIn",
    "InputItemIn",
    "NamedToolIn",
    "ResponseToolIn",
    "ResponsesRequest",
    "TextFormatIn",
    "parse",
]

NAMESPACE = "namespace"
"""The type of a tool that is several functions."""

REFERENCE = "item_reference"
"""The type of an input item that names an output item of an earlier response by its id."""

_REFUSED = {
    "background": "Runs in the background cannot be asked for here. Leave background out, and stream.",
    "conversation": "Conversations are not kept here. Use previous_response_id or x-openclaw-session-key.",
    "prompt": "Prompts are not stored here. Send the prompt's text as instructions.",
}


# What `responses_conversation` demands beyond the types: a message may leave its `type` out, so that items
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
_TOOL_FORMS = {
    "anyOf": [
        {"properties": {"type": {"enum": ["function"]}, "name": _TEXT}, "required": ["type", "name"]},
        {
            "properties": {"type": {"enum": ["function"]}, "function": {"type": "object"}},
            "required": ["type", "function"],
        },
        {
            "properties": {"type": {"enum": ["namespace"]}, "name": _TEXT, "tools": {"type": "array"}},
            "required": ["type", "name", "tools"],
        },
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

    `role` and `content` belong to messages, `call_id`, `name`, `arguments` and perhaps a `namespace` to
    function calls, `call_id` and `output` to what they gave. Reasoning is accepted and not sent to the model.
    A reference stands for the output item that has its `id`.
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
    namespace: str | None = None
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


class ResponseToolIn(FunctionToolIn, kw_only=True):
    """A tool on offer: a function, or the functions of a namespace in `tools`."""

    type: Annotated[str, Meta(extra_json_schema={"enum": ["function", "namespace"]})]
    tools: list[Annotated[FunctionToolIn, Meta(extra_json_schema=_NAMED)]] | None = None


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
    tools: list[Annotated[ResponseToolIn, Meta(extra_json_schema=_TOOL_FORMS)]] | None = None
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
