"""The wire of a conversation with Anthropic's Messages API: messages as turns of blocks.

Its rules: system text stands apart; user and assistant take turns, and the user begins; results of tools are
the user's, first in the turn that follows the calls; a text is never blank; an id is letters, digits, `_`
and `-`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from openclaw_twisted.content import ImagePart, Message, Part, ToolCall, text_of
from openclaw_twisted.providers.refusals import UNREADABLE

__all__ = ["Block", "Turn", "have_the_user_end", "system_blocks", "tool_names", "turns"]

Block = dict[str, Any]
Turn = dict[str, Any]

OPENING = "(The conversation begins with the assistant.)"
GO_ON = "(Go on.)"
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def system_blocks(messages: Sequence[Message]) -> list[Block]:
    """Return what the system said, wherever it said it."""
    said = (text_of(message) for message in messages if message.role == "system")
    return [_text(text) for text in said if text.strip()]


def turns(messages: Sequence[Message]) -> list[Turn]:
    """Return what user and assistant said, in turns `{"role", "content": [block, ...]}`."""
    found: list[Turn] = []
    for message in messages:
        blocks = [] if message.role == "system" else list(_blocks(message))
        if not blocks:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        else:
            found.append({"role": role, "content": blocks})
    for turn in found:
        turn["content"].sort(key=_after_results)
    if found and found[0]["role"] == "assistant":
        found.insert(0, {"role": "user", "content": [_text(OPENING)]})
    if found and found[-1]["role"] == "assistant":
        _trim(found[-1]["content"][-1])
    return found


def have_the_user_end(found: list[Turn]) -> None:
    """Add a turn of the user to a conversation that ends with the assistant's, for who goes on with none."""
    if found and found[-1]["role"] == "assistant":
        found.append({"role": "user", "content": [_text(GO_ON)]})


def tool_names(messages: Sequence[Message]) -> list[str]:
    """Return the tools that were called, each once."""
    return list(dict.fromkeys(call.name for message in messages for call in message.tool_calls))


def _blocks(message: Message) -> Iterator[Block]:
    content = list(_parts(message.content))
    if message.role == "tool":
        result: Block = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id or "")}
        yield {**result, "content": content} if content else result
        return
    yield from content
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": _input(call)}


def _parts(content: str | Sequence[Part]) -> Iterator[Block]:
    if isinstance(content, str):
        if content.strip():
            yield _text(content)
        return
    for part in content:
        if isinstance(part, ImagePart):
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            yield {"type": "image", "source": source}
        elif part.text.strip():
            yield _text(part.text)


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _input(call: ToolCall) -> object:
    try:
        given = msgspec.json.decode(call.arguments or "{}")
    except UNREADABLE:
        given = None
    # Only an object is an input; what a model wrote wrongly it may at least read again.
    return given if isinstance(given, dict) else {"arguments": call.arguments}


def _id(text: str) -> str:
    return _NOT_IN_IDS.sub("_", text)


def _after_results(block: Block) -> bool:
    return bool(block["type"] != "tool_result")


def _trim(block: Block) -> None:
    # A last turn of the assistant is a beginning to be continued, and must not end in white space.
    if block["type"] == "text":
        block["text"] = block["text"].rstrip()
