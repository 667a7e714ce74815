"""The wire of OpenAI-compatible chat completions: a model request as JSON, an SSE answer as events.

The answer is always asked for as a stream, also when our own caller wants it in one piece: a stream is
what shows a hang early, what a hang-up stops at once, and what every server cancels reliably.

The theory of reading it: each SSE event is a chunk; a chunk's first choice brings text, reasoning,
tool call fragments and, once, a finish reason; token counts come with it or in a chunk of their own
after it; `[DONE]` ends the stream. A stream that ends after a finish reason but without `[DONE]` is
complete (several servers do that); one that ends before it is broken off.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import Batches, ModelRequest, Provider, Sampling
from openclaw_twisted.config.settings import CompatSettings
from openclaw_twisted.content import (
    FinishReason,
    ImagePart,
    Message,
    Part,
    TextPart,
    ToolCall,
    ToolSpec,
    Usage,
    text_of,
)
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.answer import Answer
from openclaw_twisted.providers.refusals import UNREADABLE, refusal
from openclaw_twisted.providers.streamed import Reader, counted, streamed
from openclaw_twisted.providers.upstream import Address, Sender
from openclaw_twisted.sse import Decoder, EventTooLargeError

__all__ = ["OpenAICompletions", "StreamReader", "request_body"]


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


_AS_THEY_ARE = frozenset(("system", "user", "assistant"))
"""Roles whose plain messages every upstream takes in the words of ours, unless it says otherwise."""

_STATUSES = range(400, 600)
_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")

NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google takes for a call whose signature was not kept.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""

_UNSAID = Sampling()
_WITH_USAGE = {"include_usage": True}

_EFFORT: Mapping[str, str | None] = {"off": None, "adaptive": None, "max": "xhigh", "ultra": "xhigh"}
"""OpenClaw's levels that are no efforts of OpenAI's: what the model does unasked, or the most there is."""


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


_LIKE_OPENAI = CompatSettings()


class OpenAICompletions:
    """Any upstream that speaks OpenAI chat completions at `<base_url>/chat/completions`."""

    def __init__(  # noqa: PLR0913 - what an API is asked with
        self,
        upstream: Sender,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        compat: CompatSettings = _LIKE_OPENAI,
        apart: Apart | None = None,
    ) -> None:
        """`compat` tells where the upstream differs from OpenAI.

        Long requests are written down `apart`.
        """
        self._apart = apart or Apart()
        self._upstream = upstream
        self._name = name
        self._address = Address(f"{base_url.rstrip('/')}/chat/completions", headers)
        self._compat = compat

    def check(self, model: str) -> None:
        """Nothing is known about a remote API before it is asked."""

    def respond(self, request: ModelRequest) -> Batches:
        """Ask upstream and yield what each read from its socket brings."""
        return streamed(partial(self._ask, request), name=self._name, reader=StreamReader(self._name))

    async def _ask(self, request: ModelRequest) -> Answer:
        if self._apart.is_large(request.messages):
            body = await self._apart.do(partial(request_body, request, self._compat))
        else:
            body = request_body(request, self._compat)
        return await self._upstream.post(self._address, body)


def request_body(request: ModelRequest, compat: CompatSettings) -> bytes:
    """Return the JSON body that asks for `request`, shaped for what the upstream understands."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request.messages, compat),
        "stream": True,
    }
    if compat.supports_usage_in_streaming is not False:
        body["stream_options"] = _WITH_USAGE
    if request.sampling != _UNSAID:
        body.update(_sampling(request.sampling, compat))
    if compat.supports_store:
        body["store"] = False
    if request.tools and compat.supports_tools is not False and request.tool_choice != "none":
        body["tools"] = [_tool(tool, compat) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
    else:
        body.pop("parallel_tool_calls", None)
    return msgspec.json.encode(body)


def _sampling(sampling: Sampling, compat: CompatSettings) -> dict[str, Any]:
    """Return the parameters that this API has words for."""
    effort = None if compat.supports_reasoning_effort is False else sampling.reasoning_effort
    if effort is not None:
        effort = _EFFORT.get(effort, effort)
    wire: dict[str, Any] = msgspec.to_builtins(
        replace(sampling, reasoning_effort=effort, thinking=None, cache_retention=None)
    )
    if compat.max_tokens_field is not None and "max_tokens" in wire:
        wire[compat.max_tokens_field] = wire.pop("max_tokens")
    return wire


def _tool_choice(choice: str | tuple[str, str]) -> object:
    if isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice[1]}}


def _messages(messages: Sequence[Message], compat: CompatSettings) -> list[Message | dict[str, Any]]:
    """Return messages in the words of this API; those that are nothing but text are in them already."""
    as_they_are = _AS_THEY_ARE
    if compat.supports_developer_role:
        as_they_are -= {"system"}
    if compat.requires_reasoning_content_on_assistant_messages:
        as_they_are -= {"assistant"}
    return [
        message
        if message.role in as_they_are
        and message.content
        and isinstance(message.content, str)
        and not message.tool_calls
        and not message.tool_call_id
        else _message(message, compat)
        for message in messages
    ]


def _message(message: Message, compat: CompatSettings) -> dict[str, Any]:
    is_developer = message.role == "system" and compat.supports_developer_role
    wire: dict[str, Any] = {"role": "developer" if is_developer else message.role}
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [_call(call, compat) for call in message.tool_calls]
    elif isinstance(message.content, str):
        wire["content"] = message.content
    elif compat.requires_string_content and all(isinstance(part, TextPart) for part in message.content):
        wire["content"] = text_of(message)
    else:
        wire["content"] = [_part(part) for part in message.content]
    if message.role == "assistant" and compat.requires_reasoning_content_on_assistant_messages:
        wire["reasoning_content"] = ""
    if message.tool_call_id is not None:
        wire["tool_call_id"] = _call_id(message.tool_call_id, compat)
    if message.name is not None:
        wire["name"] = message.name
    return wire


def _call(call: ToolCall, compat: CompatSettings) -> dict[str, Any]:
    wire = {
        "id": _call_id(call.id, compat),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if compat.requires_thought_signatures:
        wire["extra_content"] = {"google": {"thought_signature": NO_SIGNATURE}}
    return wire


def _call_id(call_id: str, compat: CompatSettings) -> str:
    if not compat.requires_mistral_tool_ids or _MISTRAL_ID.fullmatch(call_id):
        return call_id
    return sha256(call_id.encode()).hexdigest()[:9]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        url = {"url": f"data:{part.media_type};base64,{part.data}"}
        return {"type": "image_url", "image_url": url | ({"detail": part.detail} if part.detail else {})}
    return {"type": "text", "text": part.text}


def _tool(tool: ToolSpec, compat: CompatSettings) -> dict[str, Any]:
    given = {key: value for key, value in msgspec.to_builtins(tool).items() if value is not None}
    if compat.supports_strict_mode is False:
        given.pop("strict", None)
    return {"type": "function", "function": given}


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


_fit: tuple[type[Provider], type[Reader]] = (OpenAICompletions, StreamReader)
