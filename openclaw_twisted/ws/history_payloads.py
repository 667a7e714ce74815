"""How kept messages look to WebSocket clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.boundaries import RunRecord, StoredMessage
from openclaw_twisted.content import ImagePart, Message
from openclaw_twisted.ws.session_payloads import milliseconds
from openclaw_twisted.ws.since import Since4
from openclaw_twisted.ws.tool_arguments import told_arguments

__all__ = ["MAX_READ_CHARACTERS", "HistoryMessage", "Metadata", "history_messages"]

MAX_READ_CHARACTERS = 32 * 1024 * 1024
"""How much of a conversation is read to show it: its images are not shown, but they are read."""

CUT = "\n... (cut)"


class TextBlock(Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageBlock(Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="image"):
    """An image, told without its content: that is `bytes` long."""

    mime_type: str
    omitted: Literal[True] = True
    bytes: int


class ToolCallBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="toolCall"):
    """The model asks for a tool; `arguments` is text where they are no JSON."""

    id: str
    name: str
    arguments: Any


Block = TextBlock | ImageBlock | ToolCallBlock


class Counts(Struct, frozen=True, kw_only=True):
    """Tokens of the run that answered."""

    input: int
    output: int
    total_tokens: int = msgspec.field(name="totalTokens")


class Metadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """What page and gateway agree on a message by: told to version 4."""

    id: str
    seq: int
    run_id: str
    idempotency_key: str | UnsetType = UNSET
    record_timestamp_ms: int


class HistoryMessage(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One message; `timestamp` is in ms since the epoch.

    `provider`, `model`, `usage` and `stopReason` are those of the run that answered. `__openclaw` and a user
    message's `idempotencyKey` are told to version 4.
    """

    role: Literal["system", "user", "assistant", "toolResult"]
    content: tuple[Block, ...]
    timestamp: int
    provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    usage: Counts | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    tool_name: str | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET
    idempotency_key: Since4[str] = UNSET
    metadata: Since4[Metadata] = msgspec.field(default=UNSET, name="__openclaw")


def history_messages(
    kept: Sequence[StoredMessage],
    runs: Mapping[str, RunRecord],
    *,
    speaks_4: bool,
    max_chars: int | None = None,
) -> tuple[HistoryMessage, ...]:
    """Return messages as clients see them; texts longer than `max_chars` are cut."""
    tools = {call.id: call.name for stored in kept for call in stored.message.tool_calls}
    return tuple(
        _shown(stored, runs.get(stored.run_id), tools, speaks_4=speaks_4, max_chars=max_chars)
        for stored in kept
    )


def _shown(
    stored: StoredMessage,
    run: RunRecord | None,
    tools: Mapping[str, str],
    *,
    speaks_4: bool,
    max_chars: int | None,
) -> HistoryMessage:
    message = stored.message
    answered = run if message.role == "assistant" else None
    provider, _, model = (answered.model if answered else "").partition("/")
    call_id = message.tool_call_id
    return HistoryMessage(
        role="toolResult" if message.role == "tool" else message.role,
        content=_blocks(message, max_chars),
        timestamp=milliseconds(stored.at),
        provider=provider or UNSET,
        model=model or UNSET,
        usage=_counts(answered),
        stop_reason=_stop_reason(stored, answered),
        tool_call_id=call_id or UNSET,
        tool_name=(message.name or tools.get(call_id or "") or UNSET) if call_id else UNSET,
        is_error=False if message.role == "tool" else UNSET,
        idempotency_key=f"{stored.run_id}:user" if speaks_4 and message.role == "user" else UNSET,
        metadata=_metadata(stored) if speaks_4 else UNSET,
    )


def _metadata(stored: StoredMessage) -> Metadata:
    return Metadata(
        id=f"{stored.run_id}:{stored.seq}",
        seq=stored.seq,
        run_id=stored.run_id,
        idempotency_key=f"{stored.run_id}:user" if stored.message.role == "user" else UNSET,
        record_timestamp_ms=milliseconds(stored.at),
    )


def _blocks(message: Message, max_chars: int | None) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if isinstance(message.content, str):
        if message.content or not message.tool_calls:
            blocks.append(TextBlock(_cut(message.content, max_chars)))
    else:
        for part in message.content:
            if isinstance(part, ImagePart):
                blocks.append(ImageBlock(mime_type=part.media_type, bytes=len(part.data) * 3 // 4))
            else:
                blocks.append(TextBlock(_cut(part.text, max_chars)))
    blocks += [
        ToolCallBlock(id=call.id, name=call.name, arguments=told_arguments(call.arguments))
        for call in message.tool_calls
    ]
    return tuple(blocks)


def _cut(text: str, max_chars: int | None) -> str:
    return text if max_chars is None or len(text) <= max_chars else text[:max_chars] + CUT


def _counts(run: RunRecord | None) -> Counts | UnsetType:
    if run is None or run.usage is None:
        return UNSET
    usage = run.usage
    return Counts(input=usage.prompt_tokens, output=usage.completion_tokens, total_tokens=usage.total_tokens)


def _stop_reason(stored: StoredMessage, run: RunRecord | None) -> str | UnsetType:
    if stored.interrupted:
        return "aborted"
    return UNSET if run is None or run.finish_reason is None else run.finish_reason
