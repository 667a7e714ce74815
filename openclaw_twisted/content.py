"""What people and models say to each other: messages, their parts, tool calls, token counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

__all__ = [
    "FinishReason",
    "ImagePart",
    "Message",
    "Part",
    "Role",
    "TextPart",
    "ToolCall",
    "ToolSpec",
    "Usage",
    "estimated_tokens",
    "size_of",
    "text_of",
    "turn_starts",
]

Role = Literal["system", "user", "assistant", "tool"]

CHARACTERS_PER_TOKEN: Final = 3.5
"""Fewer than English text has, about 4.2 with the tokenisers of today: an estimate that is too high cuts a
little early, one that is too low is an error of the provider. A CJK character counts as a whole token."""

TOKENS_PER_IMAGE: Final = 1500
"""What the common models charge for an image of a megapixel."""

TOKENS_PER_MESSAGE: Final = 8
"""The role and the marks around a message."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """A stretch of text inside a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """An image inside a message: its media type (`image/png`) and its base64 text."""

    media_type: str
    data: str
    detail: str | None = None


Part = TextPart | ImagePart


class ToolCall(msgspec.Struct, frozen=True):
    """The model asks for a tool; `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation.

    `tool_calls` belongs to assistant messages, `tool_call_id` to the tool messages that answer them.
    """

    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool on offer: its name, what it is for, and the JSON schema of its arguments."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the provider counted them; never estimated here."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def text_of(message: Message) -> str:
    """Return the message's text without its images."""
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content if isinstance(part, TextPart))


def size_of(messages: Iterable[Message]) -> int:
    """Return how many characters messages hold, their images' included."""
    size = 0
    for message in messages:
        content = message.content
        size += len(content) if isinstance(content, str) else sum(map(_part_size, content))
        for call in message.tool_calls:
            size += len(call.arguments)
    return size


def estimated_tokens(message: Message) -> int:
    """Estimate what a message costs a model's context; cheap, and rather too much than too little."""
    text, images = message.content, 0
    if not isinstance(text, str):
        text, images = text_of(message), sum(isinstance(part, ImagePart) for part in text)
    characters = len(text)
    for call in message.tool_calls:
        characters += len(call.name) + len(call.arguments)
    wide = 0 if text.isascii() else len(text.encode("utf-8", "replace")) - len(text)
    # UTF-8 spends two bytes more on a CJK character than on a letter: half of that is the token it costs.
    return (
        TOKENS_PER_MESSAGE + int(characters / CHARACTERS_PER_TOKEN + wide / 2) + TOKENS_PER_IMAGE * images + 1
    )


def turn_starts(messages: Sequence[Message]) -> list[int]:
    """Return where turns begin: at each user message that does not follow another one."""
    return [
        at
        for at, message in enumerate(messages)
        if message.role == "user" and (at == 0 or messages[at - 1].role != "user")
    ]


def _part_size(part: Part) -> int:
    return len(part.text) if isinstance(part, TextPart) else len(part.data)


def _sum(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    return left if right is None else left + right
