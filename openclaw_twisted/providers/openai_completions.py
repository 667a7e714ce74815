"""The wire of OpenAI-compatible chat completions: a model request as JSON, an SSE answer as events.

The answer is always asked for as a stream, also when our own caller wants it in one piece: a stream is
what shows a hang early, what a hang-up stops at once, and what every server cancels reliably.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import Batches, ModelRequest, Provider, Sampling
from openclaw_twisted.config.settings import CompatSettings
from openclaw_twisted.content import ImagePart, Message, Part, TextPart, ToolCall, ToolSpec, text_of
from openclaw_twisted.providers.answer import Answer
from openclaw_twisted.providers.openai_stream import StreamReader
from openclaw_twisted.providers.streamed import streamed
from openclaw_twisted.providers.upstream import Address, Sender

__all__ = ["NO_ANSWER", "OpenAICompletions", "request_body"]

_AS_THEY_ARE = frozenset(("system", "user", "assistant"))
"""Roles whose plain messages every upstream takes in the words of ours, unless it says otherwise."""

_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")

NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google takes for a call whose signature was not kept.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""

NO_ANSWER = "(No answer.)"
"""What an assistant said that said nothing: many refuse a message without content, and so the whole session.

Left out, it would have the user speak twice in a row, which the templates of other models refuse.
"""

_UNSAID = Sampling()
_WITH_USAGE = {"include_usage": True}

_EFFORT: Mapping[str, str | None] = {"off": None, "adaptive": None, "max": "xhigh", "ultra": "xhigh"}
"""OpenClaw's levels that are no efforts of OpenAI's: what the model does unasked, or the most there is."""

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
    elif message.role == "assistant" and not message.content:
        wire["content"] = NO_ANSWER
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


_fit: type[Provider] = OpenAICompletions
