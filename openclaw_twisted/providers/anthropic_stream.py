"""The wire of Anthropic's streamed answers: SSE data as events.

The theory: a message begins (`message_start`), has blocks of text, thinking or tool use, each of which
begins, grows and stops, then says why it ended and what it cost (`message_delta`) and stops (`message_stop`).
An `error` may come instead at any point; pings and kinds of events and blocks that are not known say nothing
to us. Counts are cumulative: the last one of each kind holds. A stream that ends after its reason but without
`message_stop` is complete; one that ends before it is broken off.
https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from openclaw_twisted.content import FinishReason, Usage
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.refusals import UNREADABLE, refusal
from openclaw_twisted.providers.streamed import Reader, counted
from openclaw_twisted.sse import Decoder, EventTooLargeError
from openclaw_twisted.surrogates import Halves

__all__ = ["MessageReader"]

SITE_IS_OVERLOADED = 529


class _Counts(msgspec.Struct):
    """What the provider counted; of any type, as a count that is none must not cost the answer."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    output_tokens_details: Any = None


class _Message(msgspec.Struct):
    usage: _Counts | None = None


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Counts | None = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode

_FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_STATUS: Mapping[str, int] = {
    "invalid_request_error": HTTPStatus.BAD_REQUEST,
    "authentication_error": HTTPStatus.UNAUTHORIZED,
    "billing_error": HTTPStatus.PAYMENT_REQUIRED,
    "permission_error": HTTPStatus.FORBIDDEN,
    "not_found_error": HTTPStatus.NOT_FOUND,
    "request_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "rate_limit_error": HTTPStatus.TOO_MANY_REQUESTS,
    "api_error": HTTPStatus.INTERNAL_SERVER_ERROR,
    "timeout_error": HTTPStatus.GATEWAY_TIMEOUT,
    "overloaded_error": SITE_IS_OVERLOADED,
}
"""The status that each kind of error has when it comes instead of a stream."""


class _Call:
    """A tool call on its way: its place among the message's calls, and whether it has arguments yet."""

    __slots__ = ("filled", "place")

    def __init__(self, place: int, *, filled: bool) -> None:
        self.place = place
        self.filled = filled


class MessageReader:
    """Bytes of one answer in, provider events out; `finished` turns true when the answer is complete."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = Decoder()
        self._halves = Halves()
        self._counts = _Counts()
        self._counted = False
        self._open: dict[int, _Call] = {}
        self._calls = 0
        self._reason: FinishReason | None = None
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
            self._finish(events)
        return events

    def _take(self, payload: bytes, events: list[ProviderEvent]) -> None:
        if self.finished or payload == b"[DONE]":  # what some gateways put after everything else
            return
        try:
            event = _decode_event(payload)
        except UNREADABLE as error:
            whole = self._halves.join(payload)
            if whole is None:
                raise UpstreamError(f"{self._name} sent something that is no event of a message.") from error
            self._take(whole, events)
            return
        if event.type == "error":
            raise self._error(event.error, payload)
        self._follow(event, events)

    def _follow(self, event: _Event, events: list[ProviderEvent]) -> None:
        match event.type:
            case "message_start":
                self._count(event.message.usage if event.message else None)
            case "content_block_start" if event.content_block is not None:
                self._begin(event.index, event.content_block, events)
            case "content_block_delta" if event.delta is not None:
                self._grow(event.index, event.delta, events)
            case "content_block_stop":
                self._stop(event.index, events)
            case "message_delta":
                self._count(event.usage)
                if event.delta is not None and event.delta.stop_reason:
                    self._reason = _FINISH.get(event.delta.stop_reason, "stop")
            case "message_stop":
                self._finish(events)

    def _begin(self, index: int, block: _Block, events: list[ProviderEvent]) -> None:
        match block.type:
            case "text" if block.text:
                events.append(TextDelta(block.text))
            case "thinking" if block.thinking:
                events.append(ReasoningDelta(block.thinking))
            case "tool_use":
                # Anthropic's input begins empty and comes in pieces; others may send it whole at once.
                given = msgspec.json.encode(block.input).decode() if block.input else ""
                self._open[index] = call = _Call(self._calls, filled=bool(given))
                self._calls += 1
                events.append(ToolCallDelta(call.place, block.id, block.name, given))

    def _grow(self, index: int, delta: _Delta, events: list[ProviderEvent]) -> None:
        match delta.type:
            case "text_delta" if delta.text:
                events.append(TextDelta(delta.text))
            case "thinking_delta" if delta.thinking:
                events.append(ReasoningDelta(delta.thinking))
            case "input_json_delta" if delta.partial_json and index in self._open:
                call = self._open[index]
                call.filled = True
                events.append(ToolCallDelta(call.place, arguments=delta.partial_json))

    def _stop(self, index: int, events: list[ProviderEvent]) -> None:
        call = self._open.pop(index, None)
        if call is not None and not call.filled:
            events.append(ToolCallDelta(call.place, arguments="{}"))

    def _count(self, counts: _Counts | None) -> None:
        if counts is None:
            return
        self._counted = True
        for name in _Counts.__struct_fields__:
            if (value := getattr(counts, name)) is not None:
                setattr(self._counts, name, value)

    def _finish(self, events: list[ProviderEvent]) -> None:
        if self._reason is None:
            raise UpstreamError(f"{self._name} ended its answer before it was complete. Try again.")
        reason = self._reason
        if self._calls and reason == "stop":
            reason = "tool_calls"  # some servers say that it was the end of the turn although they called
        self.finished = True
        events.append(Finished(reason, _usage(self._counts) if self._counted else None))

    def _error(self, error: Any, payload: bytes) -> UpstreamError:
        kind = error.get("type") if isinstance(error, dict) else None
        status = _STATUS.get(str(kind), HTTPStatus.BAD_GATEWAY)
        return refusal(self._name, status, payload, secrets=self.secrets)


def _usage(counts: _Counts) -> Usage:
    cached = counted(counts.cache_read_input_tokens)
    written = counted(counts.cache_creation_input_tokens)
    prompt = (counted(counts.input_tokens) or 0) + (cached or 0) + (written or 0)
    completion = counted(counts.output_tokens) or 0
    details = counts.output_tokens_details
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=cached,
        reasoning_tokens=counted(details.get("thinking_tokens")) if isinstance(details, dict) else None,
    )


_fits: type[Reader] = MessageReader
