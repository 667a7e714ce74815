"""A session's messages, all of them, and how they read as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from openclaw_twisted.cli.answers import Described, ListedSession, read
from openclaw_twisted.cli.conversation import Conversation
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.table import moment

__all__ = ["Transcript", "as_json", "as_markdown", "message_text", "read_transcript"]

PAGE_MESSAGES = 500
MAX_TEXT_CHARS = 500_000  # the most that gateways let a client ask for; longer texts are cut by them

_NAMES = {
    "user": "User",
    "assistant": "Assistant",
    "system": "System",
    "toolResult": "Tool result",
    "tool": "Tool result",
}
_BACKTICKS = re.compile("`+")


class _Metadata(Struct, frozen=True, kw_only=True):
    id: str | None = None


class Message(Struct, frozen=True, kw_only=True, rename="camel"):
    """One message; `timestamp` in ms since the epoch, `content` a text or a list of blocks."""

    role: str
    content: Any = None
    timestamp: float | None = None
    provider: str | None = None
    model: str | None = None
    tool_name: str | None = None
    metadata: _Metadata = msgspec.field(default=_Metadata(), name="__openclaw")


class _Page(Struct, frozen=True, kw_only=True, rename="camel"):
    messages: tuple[Raw, ...] = ()
    has_more: bool = False
    next_offset: int | None = None


class _Session(Struct, frozen=True):
    session: Raw


class Transcript(Struct, frozen=True, kw_only=True):
    """A session as the gateway describes it, and its messages as they came, oldest first."""

    session: Raw
    messages: tuple[Raw, ...]

    @property
    def described(self) -> ListedSession:
        """What is read of the session."""
        return read(bytes(self.session), ListedSession)

    @property
    def read(self) -> tuple[Message, ...]:
        """What is read of the messages."""
        return tuple(read(bytes(message), Message) for message in self.messages)


async def read_transcript(conversation: Conversation, key: str, *, newest: int | None = None) -> Transcript:
    """Read a session with its `newest` messages, or with all; raises `CommandError` if there is none."""
    payload = await conversation.request("sessions.describe", {"key": key})
    session = read(payload, Described).session
    if session is None:
        raise CommandError(
            f'There is no session "{key}". `openclaw-gateway sessions list` shows those that there are.'
        )
    kept: dict[object, Raw] = {}
    offset = 0
    while newest is None or len(kept) < newest:
        wanted = PAGE_MESSAGES if newest is None else min(PAGE_MESSAGES, newest - len(kept))
        page = await _page(conversation, session.key, wanted, offset)
        for message in reversed(page.messages):
            # What is said meanwhile pushes the rest along: the same message may come twice.
            kept.setdefault(_identity(message) or object(), message)
        if not page.has_more or page.next_offset is None or page.next_offset <= offset:
            break
        offset = page.next_offset
    return Transcript(session=read(payload, _Session).session, messages=tuple(reversed(kept.values())))


async def _page(conversation: Conversation, key: str, limit: int, offset: int) -> _Page:
    params = {"sessionKey": key, "limit": limit, "offset": offset, "maxChars": MAX_TEXT_CHARS}
    return read(await conversation.request("chat.history", params), _Page)


def _identity(message: Raw) -> str | None:
    return read(bytes(message), Message).metadata.id


def as_json(transcript: Transcript) -> bytes:
    """Return a transcript as one JSON document."""
    return msgspec.json.encode(transcript)


def message_text(message: Message) -> str:
    """Return what a message says, with a line for each thing that is no text."""
    return "\n".join(_lines(message))


def _lines(message: Message) -> Iterator[str]:
    for block in _blocks(message):
        if block.get("type") == "text":
            yield str(block.get("text", ""))
        elif block.get("type") == "toolCall":
            yield f"[calls {block.get('name')}]"
        else:
            yield f"[{_placeholder(block)}]"


def as_markdown(transcript: Transcript) -> str:
    """Return a transcript as Markdown; images and other things that are no text as placeholders."""
    return "\n\n".join((*_head(transcript), *_body(transcript))) + "\n"


def _head(transcript: Transcript) -> Iterator[str]:
    session = transcript.described
    yield f"# {session.label or session.derived_title or session.key}"
    known = (
        ("Session", f"`{session.key}`"),
        ("Id", f"`{session.session_id}`" if session.session_id else ""),
        ("Model", session.full_model),
        ("Last used", moment(session.updated_at) if session.updated_at else ""),
        ("Messages", str(len(transcript.messages))),
    )
    yield "\n".join(f"- {name}: {value}" for name, value in known if value)


def _body(transcript: Transcript) -> Iterator[str]:
    for message in transcript.read:
        name = _NAMES.get(message.role, message.role)
        model = "/".join(filter(None, (message.provider, message.model)))
        who = f"{name} ({model or message.tool_name})" if model or message.tool_name else name
        yield f"## {who}" + (f", {moment(message.timestamp)}" if message.timestamp else "")
        plain = message.role not in {"toolResult", "tool"}
        for block in _blocks(message):
            yield _block(block, plain=plain)


def _block(block: dict[str, Any], *, plain: bool) -> str:
    if block.get("type") == "text":
        text = str(block.get("text", ""))
        return text if plain else _fenced(text)
    if block.get("type") == "toolCall":
        arguments = block.get("arguments")
        shown = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return f"Calls the tool `{block.get('name')}`:\n\n{_fenced(shown, 'json')}"
    return f"*[{_placeholder(block)}]*"


def _blocks(message: Message) -> list[dict[str, Any]]:
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _placeholder(block: dict[str, Any]) -> str:
    """Return what stands in the place of an image, or of something that nobody knows here."""
    kind, size = block.get("mimeType"), block.get("bytes")
    details = (str(kind) if kind else "", f"{size} bytes" if size else "")
    return ": ".join(filter(None, (str(block.get("type", "something")), ", ".join(filter(None, details)))))


def _fenced(text: str, language: str = "") -> str:
    """Return a text as a code block whose fence is longer than any in the text."""
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
