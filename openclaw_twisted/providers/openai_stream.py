"""The answers of OpenAI-compatible chat completions, read as they come.

The theory: each SSE event is a chunk; a chunk's first choice brings text, reasoning, tool call fragments and,
once, a finish reason; token counts come with it or in a chunk of their own after it; `[DONE]` ends the
stream. A stream that ends after a finish reason but without `[DONE]` is complete (several servers do that);
one that ends before it is broken off.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import msgspec

from openclaw_twisted.content import FinishReason, Usage
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.refusals import UNREADABLE, refusal
from openclaw_twisted.providers.streamed import Reader, counted
from openclaw_twisted.sse import Decoder, EventTooLargeError

__all__ = ["StreamReader"]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Chunklet(msgspec.Struct):
    """A part of a delta's content, where that is a list: text, or what a model of Mistral's is thinking."""

    type: str = ""
    text: str = ""
    thinking: list[_Chunklet] = []


class _Delta(msgspec.Struct):
    content: str | list[_Chunklet] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Groq(msgspec.Struct):
    usage: _Usage | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    x_groq: _Groq | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

_STATUSES = range(400, 600)


class StreamReader:
    """Bytes of one answer in, provider events out; `finished` turns true when the answer is complete."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = Decoder()
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._ids: list[str | None] = []
        self._places: dict[int | None, int] = {}
        self.finished = False

    def feed(self, data: bytes) -> list[ProviderEvent]:
        """Return the events that `data` completes; raises `UpstreamError` for what is no answer."""
        try:
            payloads = self._decoder.feed(data)
        except EventTooLargeError as error:
            raise UpstreamError(f"{self._name} sent an oversized event.") from error
        events: list[ProviderEvent] = []
        for payload in payloads:
            self._take(payload, events)
        return events

    def end(self) -> list[ProviderEvent]:
        """Return what the end of the body completes; raises `UpstreamError` when it came too early."""
        events: list[ProviderEvent] = []
        pending = self._decoder.finish()
        if pending is not None:
            self._take(pending, events)
        if not self.finished:
            if self._reason is None:
                raise UpstreamError(f"{self._name} ended its answer before it was complete. Try again.")
            self._finish(events)
        return events

    def _take(self, payload: bytes, events: list[ProviderEvent]) -> None:
        if self.finished:
            return
        if payload == b"[DONE]":
            if self._reason is None:
                raise UpstreamError(f"{self._name} ended its answer before it was complete. Try again.")
            self._finish(events)
            return
        try:
            chunk = _decode_chunk(payload)
        except UNREADABLE as error:
            raise UpstreamError(f"{self._name} sent something that is no completion chunk.") from error
        if chunk.error is not None:
            raise self._error(chunk.error, payload)
        if chunk.choices:
            self._take_choice(chunk.choices[0], events)
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
        if usage is not None:
            self._usage = _usage(usage)

    def _error(self, error: Any, payload: bytes) -> UpstreamError:
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and code in _STATUSES else HTTPStatus.BAD_GATEWAY
        return refusal(self._name, status, payload)

    def _take_choice(self, choice: _Choice, events: list[ProviderEvent]) -> None:
        delta = choice.delta
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                events.append(ReasoningDelta(thought))
            if isinstance(delta.content, list):
                _take_list(delta.content, events)
            elif text := delta.content or delta.refusal:
                events.append(TextDelta(text))
            if delta.tool_calls:
                events += map(self._call, delta.tool_calls)
        if choice.finish_reason == "error":
            raise UpstreamError(f"{self._name} failed in the middle of its answer. Try again.")
        if choice.finish_reason and self._reason is None:
            self._reason = _FINISH.get(choice.finish_reason, "stop")

    def _call(self, call: _ToolCall) -> ToolCallDelta:
        """Return a call, or more of one; some servers leave out which, or what it is called by."""
        function = call.function or _Function()
        given = call.id or None
        place = self._places.get(call.index, len(self._ids) - 1 if call.index is None else -1)
        if place < 0 or (function.name and self._is_another(place, call.index, given)):
            place = len(self._ids)
            self._ids.append(given)
            given = given or f"call_{uuid4().hex}"
            if call.index is not None:
                self._places[call.index] = place
        return ToolCallDelta(place, id=given, name=function.name, arguments=function.arguments or "")

    def _is_another(self, place: int, index: int | None, given: str | None) -> bool:
        # Whoever says neither which call it is nor what it is called by begins one with each name.
        return index is None if given is None else given != self._ids[place]

    def _finish(self, events: list[ProviderEvent]) -> None:
        reason = self._reason or "stop"
        if self._ids and reason == "stop":
            reason = "tool_calls"  # some servers say "stop" although they called
        self.finished = True
        events.append(Finished(reason, self._usage))


def _take_list(parts: Sequence[_Chunklet], events: list[ProviderEvent]) -> None:
    for part in parts:
        if part.text:
            events.append(TextDelta(part.text))
        if thought := "".join(each.text for each in part.thinking):
            events.append(ReasoningDelta(thought))


def _usage(wire: _Usage) -> Usage:
    prompt, completion = counted(wire.prompt_tokens) or 0, counted(wire.completion_tokens) or 0
    total = counted(wire.total_tokens)
    prompt_details, completion_details = wire.prompt_tokens_details, wire.completion_tokens_details
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion if total is None else total,
        cached_tokens=counted(prompt_details.cached_tokens) if prompt_details else None,
        reasoning_tokens=counted(completion_details.reasoning_tokens) if completion_details else None,
    )


_fits: type[Reader] = StreamReader
