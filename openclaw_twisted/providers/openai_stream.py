"""The answers of OpenAI-compatible chat completions, read as they come.

The theory: each SSE event is a chunk; a chunk's first choice brings text, reasoning, tool call fragments and,
once, a finish reason; token counts come with it or in a chunk of their own after it; `[DONE]` ends the
stream. A stream that ends after a finish reason but without `[DONE]` is complete (several servers do that);
one that ends before it is broken off. A whole completion is read as one chunk that brings everything: its
choice has a `message` where that of a chunk has a `delta`.
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
from openclaw_twisted.surrogates import Halves

__all__ = ["StreamReader"]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Chunklet(msgspec.Struct):
    """A part of a delta's content, where that is a list: text, or what a model of Mistral's is thinking."""

    type: str = ""
    text: str | None = None
    thinking: list[_Chunklet] | str | None = None


class _Delta(msgspec.Struct):
    content: str | list[_Chunklet] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    """What the provider counted; of any type, as a count that is none must not cost the answer."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None


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
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "sensitive": "content_filter",
}
_FAILED = frozenset(
    {
        "error",
        "abort",  # vLLM, SGLang
        "insufficient_system_resource",  # DeepSeek
        "network_error",  # Zhipu
        "function_call_filter",  # Google: what the model wrote is no call
        "malformed_function_call",
    }
)
"""Why an answer ends that is none, or only a part of one."""

_STATUSES = range(400, 600)
_STATUS_OF: Mapping[str, int] = {
    **{str(status): status for status in _STATUSES},
    "rate_limit_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "rate_limit_error": HTTPStatus.TOO_MANY_REQUESTS,
    "insufficient_quota": HTTPStatus.TOO_MANY_REQUESTS,
}
"""The status that an error would have had that came before the stream."""


class StreamReader:
    """Bytes of one answer in, provider events out; `finished` turns true when the answer is complete."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = Decoder()
        self._halves = Halves()
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._ids: list[str | None] = []
        self._named: set[int] = set()
        self._places: dict[int | None, int] = {}
        self.finished = False
        self.secrets: tuple[str, ...] = ()

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
            whole = self._halves.join(payload)
            if whole is None:
                raise UpstreamError(f"{self._name} sent something that is no completion chunk.") from error
            self._take(whole, events)
            return
        if chunk.error is not None:
            raise self._error(chunk.error, payload)
        if chunk.choices:
            self._take_choice(chunk.choices[0], events)
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
        if usage is not None:
            self._usage = _usage(usage)

    def _error(self, error: Any, payload: bytes) -> UpstreamError:
        return refusal(self._name, _status_of(error), payload, secrets=self.secrets)

    def _take_choice(self, choice: _Choice, events: list[ProviderEvent]) -> None:
        delta = choice.delta or choice.message
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                events.append(ReasoningDelta(thought))
            if isinstance(delta.content, list):
                _take_list(delta.content, events)
            elif text := delta.content or delta.refusal:
                events.append(TextDelta(text))
            if delta.tool_calls:
                events += map(self._call, delta.tool_calls)
        if choice.finish_reason:
            self._end_for(choice.finish_reason)

    def _end_for(self, told: str) -> None:
        reason = told.lower().partition(":")[0]  # Google's has details after a colon, some write in capitals
        if reason in _FAILED:
            raise UpstreamError(f"{self._name} failed in the middle of its answer ({reason}). Try again.")
        if self._reason is None:
            self._reason = _FINISH.get(reason, "stop")

    def _call(self, call: _ToolCall) -> ToolCallDelta:
        """Return a call, or more of one; some servers leave out which, or say again what it is called."""
        function = call.function or _Function()
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        given = call.id or None
        place = self._places.get(call.index, len(self._ids) - 1 if call.index is None else -1)
        begins = place < 0 or (function.name and self._is_another(place, call.index, given))
        if begins:
            place = len(self._ids)
            self._ids.append(given)
            if call.index is not None:
                self._places[call.index] = place
        name = function.name if place not in self._named else None
        if name:
            self._named.add(place)
        call_id = (given or f"call_{uuid4().hex}") if begins else None
        return ToolCallDelta(place, id=call_id, name=name or None, arguments=arguments)

    def _is_another(self, place: int, index: int | None, given: str | None) -> bool:
        # Whoever says neither which call it is nor what it is called by begins one with each name.
        return index is None if given is None else given != self._ids[place]

    def _finish(self, events: list[ProviderEvent]) -> None:
        reason = self._reason or "stop"
        if self._ids and reason == "stop":
            reason = "tool_calls"  # some servers say "stop" although they called
        self.finished = True
        events.append(Finished(reason, self._usage))


def _status_of(error: Any) -> int:
    told = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    known = (_STATUS_OF.get(str(each)) for each in told)
    return next(filter(None, known), HTTPStatus.BAD_GATEWAY)


def _take_list(parts: Sequence[_Chunklet], events: list[ProviderEvent]) -> None:
    for part in parts:
        if part.text:
            events.append(TextDelta(part.text))
        thinking = part.thinking or ""
        if (
            thought := thinking
            if isinstance(thinking, str)
            else "".join(each.text or "" for each in thinking)
        ):
            events.append(ReasoningDelta(thought))


def _usage(wire: _Usage) -> Usage:
    prompt, completion = counted(wire.prompt_tokens) or 0, counted(wire.completion_tokens) or 0
    total = counted(wire.total_tokens)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion if total is None else total,
        cached_tokens=_detail(wire.prompt_tokens_details, "cached_tokens"),
        reasoning_tokens=_detail(wire.completion_tokens_details, "reasoning_tokens"),
    )


def _detail(details: Any, name: str) -> int | None:
    return counted(details.get(name)) if isinstance(details, dict) else None


_fits: type[Reader] = StreamReader
