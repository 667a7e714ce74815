"""Answers of Anthropic's Messages API, for an upstream that the test plays."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["block_of", "message_event", "message_of"]


def message_event(kind: str, **fields: Any) -> bytes:
    """Return one event of a streamed message."""
    data = msgspec.json.encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def block_of(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    """Return the events of one content block: it begins, grows by each delta, and stops."""
    return [
        message_event("content_block_start", index=index, content_block=block),
        *(message_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        message_event("content_block_stop", index=index),
    ]


def message_of(
    *blocks: list[bytes], stop_reason: str = "end_turn", usage: tuple[int, int] = (3, 2), **counts: int
) -> list[bytes]:
    """Return the events of a whole message: its blocks between its head and why it stopped.

    `usage` are the tokens in and out; `counts` more of them, as the head tells them.
    """
    tokens_in, tokens_out = usage
    head = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "usage": {"input_tokens": tokens_in, "output_tokens": 1, **counts},
    }
    return [
        message_event("message_start", message=head),
        message_event("ping"),
        *(event for block in blocks for event in block),
        message_event(
            "message_delta",
            delta={"stop_reason": stop_reason, "stop_sequence": None},
            usage={"output_tokens": tokens_out},
        ),
        message_event("message_stop"),
    ]
