"""What a chat completion looks like on the wire: one object, or a stream of chunks.

A stream is: the role chunk, deltas, a chunk with the finish reason, the token counts when asked for, and
`[DONE]`. A stream that fails ends with an error event and `[DONE]` and has no finish chunk, so that
nobody takes half an answer for a whole one.
https://platform.openai.com/docs/api-reference/chat-streaming/streaming
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from openclaw_twisted import content
from openclaw_twisted.content import FinishReason
from openclaw_twisted.events import (
    ModelAnswering,
    ReasoningDelta,
    RunEvent,
    RunFailed,
    RunFinished,
    TextDelta,
    ToolCallDelta,
)
from openclaw_twisted.http.endpoint import error_body
from openclaw_twisted.http.stream import EventEncoder, model_used
from openclaw_twisted.sse import DONE, encode

__all__ = ["ChunkEncoder", "ChunkOut", "CompletionOut", "Heading", "completion", "heading_of"]

Reason = FinishReason | Literal["function_call"]


class FunctionOut(msgspec.Struct, omit_defaults=True):
    """A called function; in a stream its name comes first and its arguments in pieces."""

    name: str | None = None
    arguments: str | None = None


class ToolCallOut(msgspec.Struct, omit_defaults=True):
    """A tool call or, with `index`, a piece of one."""

    function: FunctionOut
    index: int | None = None
    id: str | None = None
    type: Literal["function"] | None = None


class MessageOut(msgspec.Struct):
    """The assistant's whole message."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    tool_calls: list[ToolCallOut] | UnsetType = UNSET
    function_call: FunctionOut | UnsetType = UNSET


class DeltaOut(msgspec.Struct, omit_defaults=True):
    """What a chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCallOut, ...] = ()
    function_call: FunctionOut | None = None


class PromptDetailsOut(msgspec.Struct):
    """Where prompt tokens came from."""

    cached_tokens: int


class CompletionDetailsOut(msgspec.Struct):
    """What completion tokens were spent on."""

    reasoning_tokens: int


class UsageOut(msgspec.Struct):
    """Tokens as the provider counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetailsOut | UnsetType = UNSET
    completion_tokens_details: CompletionDetailsOut | UnsetType = UNSET


class ChoiceOut(msgspec.Struct):
    """The one choice of a whole answer."""

    message: MessageOut
    finish_reason: Reason
    index: int = 0
    logprobs: None = None


class CompletionOut(msgspec.Struct):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: tuple[ChoiceOut]
    usage: UsageOut | UnsetType = UNSET
    object: Literal["chat.completion"] = "chat.completion"


class ChunkChoiceOut(msgspec.Struct):
    """The one choice of a chunk."""

    delta: DeltaOut
    finish_reason: Reason | None = None
    index: int = 0
    logprobs: None = None


class ChunkOut(msgspec.Struct):
    """A piece of a streamed answer."""

    id: str
    created: int
    model: str
    choices: tuple[ChunkChoiceOut, ...]
    usage: UsageOut | UnsetType | None = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class Heading(msgspec.Struct, frozen=True):
    """What every piece of one answer repeats: its id, when it began (seconds), the model as asked for.

    `legacy` is for clients that know one `function_call` in place of `tool_calls`.
    """

    id: str
    created: int
    model: str
    legacy: bool = False


def heading_of(run_id: str, now: float, model: str, *, legacy: bool = False) -> Heading:
    """Return the heading of a run's answer that begins now."""
    return Heading(f"chatcmpl_{run_id}", int(now), model, legacy)


_encode_json = msgspec.json.Encoder().encode


def completion(heading: Heading, finished: RunFinished) -> bytes:
    """Return a whole answer as JSON; token counts that the provider did not give are left out."""
    message = finished.message
    text, calls = content.text_of(message), message.tool_calls
    said = MessageOut(content=text if text or not calls else None)
    if calls and heading.legacy:
        said.function_call = FunctionOut(name=calls[0].name, arguments=calls[0].arguments)
    elif calls:
        said.tool_calls = [
            ToolCallOut(
                id=call.id, type="function", function=FunctionOut(name=call.name, arguments=call.arguments)
            )
            for call in calls
        ]
    return _encode_json(
        CompletionOut(
            id=heading.id,
            created=heading.created,
            model=heading.model,
            choices=(ChoiceOut(message=said, finish_reason=_reason(finished.reason, heading)),),
            usage=_usage(finished.usage) if finished.usage else UNSET,
        )
    )


class ChunkEncoder:
    """Run events as chat completion chunks; `comments` says whether other lines may be among them."""

    __slots__ = ("_after_text", "_before_text", "_comments", "_heading", "_include_usage")

    def __init__(self, heading: Heading, *, include_usage: bool, comments: bool = True) -> None:
        self._comments = comments
        self._heading = heading
        self._include_usage = include_usage
        # Pieces of text differ in the text alone, so the rest is encoded once. Nobody's name for a model can
        # be taken for the place: within JSON's strings quotation marks are escaped.
        before, place, self._after_text = self._chunk(DeltaOut(content="")).partition(b'"content":""')
        self._before_text = before + place[:-2]

    def opening(self) -> bytes:
        """Return the role chunk."""
        return self._chunk(DeltaOut(role="assistant", content=""))

    def encode(self, event: RunEvent) -> bytes:
        """Return the chunks for an event; the last event ends the stream."""
        match event:
            case TextDelta():
                return self._before_text + _encode_json(event.text) + self._after_text
            case ReasoningDelta():
                return self._chunk(DeltaOut(reasoning_content=event.text))
            case ToolCallDelta():
                return self._call(event)
            case RunFinished():
                finish = self._chunk(DeltaOut(), _reason(event.reason, self._heading))
                return finish + self._usage(event) + DONE
            case RunFailed():
                return encode(error_body(event.error)) + DONE
            case ModelAnswering():
                return model_used(event, self.nothing) if self._comments else b""
            case _:
                return b""

    def nothing(self) -> bytes:
        """Return a chunk that adds nothing."""
        return self._chunk(DeltaOut())

    def _call(self, event: ToolCallDelta) -> bytes:
        function = FunctionOut(name=event.name, arguments=event.arguments)
        if not self._heading.legacy:
            call = ToolCallOut(
                index=event.index, id=event.id, type="function" if event.id else None, function=function
            )
            return self._chunk(DeltaOut(tool_calls=(call,)))
        return self._chunk(DeltaOut(function_call=function)) if event.index == 0 else b""

    def _chunk(self, delta: DeltaOut, reason: Reason | None = None) -> bytes:
        return self._encode((ChunkChoiceOut(delta, reason),), None if self._include_usage else UNSET)

    def _usage(self, event: RunFinished) -> bytes:
        if not self._include_usage or event.usage is None:
            return b""
        return self._encode((), _usage(event.usage))

    def _encode(self, choices: tuple[ChunkChoiceOut, ...], usage: UsageOut | UnsetType | None) -> bytes:
        heading = self._heading
        return encode(
            _encode_json(
                ChunkOut(
                    id=heading.id,
                    created=heading.created,
                    model=heading.model,
                    choices=choices,
                    usage=usage,
                )
            )
        )


def _reason(reason: FinishReason, heading: Heading) -> Reason:
    return "function_call" if heading.legacy and reason == "tool_calls" else reason


def _usage(usage: content.Usage) -> UsageOut:
    return UsageOut(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=UNSET if usage.cached_tokens is None else PromptDetailsOut(usage.cached_tokens),
        completion_tokens_details=UNSET
        if usage.reasoning_tokens is None
        else CompletionDetailsOut(usage.reasoning_tokens),
    )


_fits: type[EventEncoder] = ChunkEncoder
