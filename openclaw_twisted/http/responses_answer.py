"""What a response looks like on the wire: the whole object, its output items, and their ids.

https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from openclaw_twisted.content import FinishReason, Usage
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.http.responses_request import (
    NAMESPACE,
    AllowedToolsIn,
    FunctionToolIn,
    NamedToolIn,
    ResponsesRequest,
    ResponseToolIn,
    TextFormatIn,
)

__all__ = [
    "FunctionCallOut",
    "NamespaceOut",
    "OutputItemOut",
    "OutputMessageOut",
    "OutputTextOut",
    "ReasoningOut",
    "ResponseOut",
    "SummaryTextOut",
    "failure",
    "incomplete_because",
    "new_response",
    "response_id",
    "run_id_of",
    "usage_out",
]

ItemStatus = Literal["in_progress", "completed", "incomplete"]
DEFAULT_CHOICE = "auto"


class OutputTextOut(msgspec.Struct, tag_field="type", tag="output_text"):
    """The text of a message."""

    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[()] = ()


class OutputMessageOut(msgspec.Struct, tag_field="type", tag="message"):
    """What the model says."""

    id: str
    status: ItemStatus
    content: tuple[OutputTextOut, ...]
    role: Literal["assistant"] = "assistant"


class FunctionCallOut(msgspec.Struct, tag_field="type", tag="function_call"):
    """A function that the model wants called; `call_id` ties its output to it."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class SummaryTextOut(msgspec.Struct, tag_field="type", tag="summary_text"):
    """What the model was thinking."""

    text: str


class ReasoningOut(msgspec.Struct, tag_field="type", tag="reasoning"):
    """The model's thinking, where its provider tells it."""

    id: str
    summary: tuple[SummaryTextOut, ...]


OutputItemOut = ReasoningOut | OutputMessageOut | FunctionCallOut


class InputTokensDetailsOut(msgspec.Struct):
    """Where input tokens came from; 0 stands for what the provider did not count."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetailsOut(msgspec.Struct):
    """What output tokens were spent on; 0 stands for what the provider did not count."""

    reasoning_tokens: int


class ResponseUsageOut(msgspec.Struct):
    """Tokens as the provider counted them."""

    input_tokens: int
    input_tokens_details: InputTokensDetailsOut
    output_tokens: int
    output_tokens_details: OutputTokensDetailsOut
    total_tokens: int


class ResponseErrorOut(msgspec.Struct):
    """Why a response failed, in the few codes that OpenAI has for it."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetailsOut(msgspec.Struct):
    """Why a response ended early."""

    reason: Literal["max_output_tokens", "content_filter"]


class FunctionToolOut(msgspec.Struct, tag_field="type", tag="function"):
    """A tool as it was offered."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class NamespaceOut(msgspec.Struct, tag_field="type", tag="namespace"):
    """Functions as they were offered under one name."""

    name: str
    description: str | None
    tools: tuple[FunctionToolOut, ...]


class NamedToolOut(msgspec.Struct, tag_field="type", tag="function"):
    """The function that had to be called."""

    name: str


class TextConfigOut(msgspec.Struct):
    """How the answer's text had to be."""

    format: TextFormatIn


class ReasoningConfigOut(msgspec.Struct):
    """How much the model was to think."""

    effort: str | None
    summary: None = None


class ResponseOut(msgspec.Struct, kw_only=True):
    """A response: what was asked, how it went, and the output."""

    id: Annotated[str, Meta(description="`resp_`, and what `previous_response_id` needs to continue it.")]
    object: Literal["response"] = "response"
    created_at: Annotated[int, Meta(description="Seconds since the epoch.")]
    status: Literal["in_progress", "completed", "incomplete", "failed"] = "in_progress"
    background: Literal[False] = False
    completed_at: int | None = None
    error: ResponseErrorOut | None = None
    incomplete_details: IncompleteDetailsOut | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: tuple[OutputItemOut, ...] = ()
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: ReasoningConfigOut
    safety_identifier: str | None
    store: bool
    temperature: float | None
    text: TextConfigOut
    tool_choice: str | NamedToolOut | AllowedToolsIn
    tools: tuple[FunctionToolOut | NamespaceOut, ...]
    top_p: float | None
    truncation: str
    usage: ResponseUsageOut | None = None
    user: str | None


def new_response(asked: ResponsesRequest, *, run_id: str, model: str, now: float) -> ResponseOut:
    """Return the response to a request, before anything of its output is known."""
    return ResponseOut(
        id=response_id(run_id, stored=asked.stored),
        created_at=int(now),
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        metadata=asked.metadata or {},
        model=model,
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        previous_response_id=asked.previous_response_id,
        prompt_cache_key=asked.prompt_cache_key,
        reasoning=ReasoningConfigOut(asked.reasoning.effort if asked.reasoning else None),
        safety_identifier=asked.safety_identifier,
        store=asked.stored,
        temperature=asked.temperature,
        text=TextConfigOut(asked.format),
        tool_choice=_choice(asked),
        tools=tuple(map(_tool, asked.tools or ())),
        top_p=asked.top_p,
        truncation=asked.truncation or "disabled",
        user=asked.user,
    )


def _choice(asked: ResponsesRequest) -> str | NamedToolOut | AllowedToolsIn:
    choice = asked.tool_choice
    if isinstance(choice, NamedToolIn):
        return NamedToolOut(choice.chosen or "")
    return choice or DEFAULT_CHOICE


def _tool(tool: ResponseToolIn) -> FunctionToolOut | NamespaceOut:
    if tool.type != NAMESPACE:
        return _function(tool)
    functions = tuple(map(_function, tool.tools or ()))
    return NamespaceOut(name=tool.name or "", description=tool.description, tools=functions)


def _function(tool: FunctionToolIn) -> FunctionToolOut:
    function: Any = tool.function or tool
    return FunctionToolOut(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=function.strict,
    )


def response_id(run_id: str, *, stored: bool) -> str:
    """Return a response's id: one that leads back to its run, or to nothing when it is not stored."""
    known_as = uuid.UUID(run_id) if stored else uuid.uuid4()
    return f"resp_{known_as.hex}"


_RESPONSE_ID = re.compile(r"resp_([0-9a-f]{32})", re.ASCII)


def run_id_of(identifier: str) -> str | None:
    """Return the id of the run that a response's id leads to, None when it is no id of ours."""
    found = _RESPONSE_ID.fullmatch(identifier)
    return str(uuid.UUID(found[1])) if found else None


def usage_out(usage: Usage) -> ResponseUsageOut:
    """Return token counts as a response tells them."""
    return ResponseUsageOut(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetailsOut(usage.cached_tokens or 0),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetailsOut(usage.reasoning_tokens or 0),
        total_tokens=usage.total_tokens,
    )


def incomplete_because(reason: FinishReason) -> IncompleteDetailsOut | None:
    """Return why a response that ended for `reason` is incomplete, None when it is complete."""
    if reason == "length":
        return IncompleteDetailsOut("max_output_tokens")
    return IncompleteDetailsOut("content_filter") if reason == "content_filter" else None


def failure(error: GatewayError) -> ResponseErrorOut:
    """Return an error as a failed response tells it."""
    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"] = "server_error"
    if error.kind == "rate_limit_error":
        code = "rate_limit_exceeded"
    elif error.kind == "invalid_request_error":
        code = "invalid_prompt"
    return ResponseErrorOut(code, error.message)
