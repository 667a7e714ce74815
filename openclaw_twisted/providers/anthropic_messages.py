"""The wire of Anthropic's Messages API: a model request as JSON; the answer is `anthropic_stream`'s.

What the API has no word for is left out: `seed`, `logit_bias`, penalties. `response_format` becomes a format
where the model can be held to one and the caller asks for exactly that, else an instruction. How a model is
made to think is `anthropic_thinking`'s.

Beginnings of prompts are marked for the provider's cache at the end of the tools, the system text and the
conversation, so that a next turn pays for little more than what is new in it.
https://platform.claude.com/docs/en/api/messages
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import Batches, ModelRequest, Provider, Sampling
from openclaw_twisted.config.settings import ModelSettings
from openclaw_twisted.providers.answer import Answer
from openclaw_twisted.providers.anthropic_conversation import Block, have_the_user_end, system_blocks, turns
from openclaw_twisted.providers.anthropic_stream import MessageReader
from openclaw_twisted.providers.anthropic_thinking import think
from openclaw_twisted.providers.anthropic_tools import offer_tools
from openclaw_twisted.providers.claude_models import Claude, claude
from openclaw_twisted.providers.streamed import streamed
from openclaw_twisted.providers.upstream import Address, Sender

__all__ = ["DEFAULT_MAX_TOKENS", "VERSION", "AnthropicMessages", "messages_url", "request_body"]

VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 16_384
"""The API demands a limit; this one holds when neither the request nor the settings name one."""

MAX_TEMPERATURE = 1.0
_HOST = "api.anthropic.com"
_ANY_MODEL = ModelSettings(id="any")


class AnthropicMessages:
    """Any upstream that speaks Anthropic's Messages API; `base_url` may end in `/v1` or not."""

    def __init__(  # noqa: PLR0913 - what an API is asked with
        self,
        upstream: Sender,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        settings: ModelSettings = _ANY_MODEL,
        apart: Apart | None = None,
    ) -> None:
        """Take the model's settings: whether it thinks, and where its API differs from Anthropic's.

        Long requests are written down `apart`.
        """
        self._apart = apart or Apart()
        self._upstream = upstream
        self._name = name
        self._address = Address(messages_url(base_url), {"anthropic-version": VERSION, **headers})
        self._settings = settings
        self._at_home = urlsplit(base_url).hostname == _HOST

    def check(self, model: str) -> None:
        """Nothing is known about a remote API before it is asked."""

    def respond(self, request: ModelRequest) -> Batches:
        """Ask upstream and yield what each read from its socket brings."""
        return streamed(partial(self._ask, request), name=self._name, reader=MessageReader(self._name))

    async def _ask(self, request: ModelRequest) -> Answer:
        written = partial(request_body, request, self._settings, at_home=self._at_home)
        large = self._apart.is_large(request.messages)
        body = await self._apart.do(written) if large else written()
        return await self._upstream.post(self._address, body)


def messages_url(base_url: str) -> str:
    """Return where messages are sent: OpenClaw's files name the address with and without `/v1`."""
    return f"{base_url.rstrip('/').removesuffix('/v1')}/v1/messages"


def request_body(
    request: ModelRequest, settings: ModelSettings = _ANY_MODEL, *, at_home: bool = True
) -> bytes:
    """Return the JSON body that asks for `request`; `at_home` says that Anthropic itself is asked."""
    sampling, model = request.sampling, claude(request.model)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": sampling.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": turns(request.messages),
        "stream": True,
    }
    if stop := [text for text in sampling.stop or () if text.strip()]:
        body["stop_sequences"] = stop
    system = [
        *system_blocks(request.messages),
        *offer_tools(body, request, settings.compat, model),
        *_format(body, sampling, model),
    ]
    if system:
        body["system"] = system
    if settings.reasoning:
        think(body, request, model)
    if model.sampling and "thinking" not in body:
        _sample(body, sampling)
    # Nor does a model go on with a turn of its own when it thinks first.
    if not model.continues or "thinking" in body:
        have_the_user_end(body["messages"])
    _mark(body, sampling.cache_retention, at_home=at_home)
    return msgspec.json.encode(body)


def _format(body: dict[str, Any], sampling: Sampling, model: Claude) -> list[Block]:
    """Hold the answer to a format; return what has to be said because it cannot be held to it."""
    wanted = sampling.response_format or {}
    match wanted.get("type"):
        case "json_object":
            return [{"type": "text", "text": "Answer with a JSON object and nothing else."}]
        case "json_schema":
            given = wanted.get("json_schema") or {}
            schema = given.get("schema") or {}
            if given.get("strict") and model.schemas:
                body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
                return []
            text = msgspec.json.encode(schema).decode()
            words = f"Answer with JSON that follows this schema, and with nothing else:\n{text}"
            return [{"type": "text", "text": words}]
        case _:
            return []


def _sample(body: dict[str, Any], sampling: Sampling) -> None:
    # The API takes one of the two.
    if sampling.temperature is not None:
        body["temperature"] = min(sampling.temperature, MAX_TEMPERATURE)
    elif sampling.top_p is not None:
        body["top_p"] = sampling.top_p


def _mark(body: dict[str, Any], retention: str | None, *, at_home: bool) -> None:
    if retention == "none":
        return
    control = {"type": "ephemeral"}
    if retention == "long" and at_home:  # who else offers this API may not know of hours
        control["ttl"] = "1h"
    asked = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
    for blocks in (body.get("tools"), body.get("system"), asked[-1] if asked else None):
        if blocks:
            blocks[-1]["cache_control"] = control


_fits: type[Provider] = AnthropicMessages
