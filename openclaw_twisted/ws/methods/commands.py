"""`commands.list`: the messages that are commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.methods.chat import STOP

__all__ = ["CommandsParams", "commands_methods"]


class CommandsParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Where they would be used: they are the same everywhere."""

    agent_id: str | None = None
    include_args: bool = False
    provider: str | None = None
    scope: Literal["text", "native", "both"] = "both"
    session_key: str | None = None


class Command(Struct, frozen=True, kw_only=True, rename="camel"):
    """One command."""

    name: str
    text_aliases: tuple[str, ...]
    description: str
    category: Literal["session"] = "session"
    source: Literal["native"] = "native"
    scope: Literal["text"] = "text"
    accepts_args: bool = False


class Commands(Struct, frozen=True):
    """All of them."""

    commands: tuple[Command, ...]


def commands_methods(reset_triggers: Sequence[str]) -> tuple[Method[Any], ...]:
    """Return the methods of this family; `reset_triggers` are the messages that begin a session anew."""
    known = (
        _command(STOP, "Stop what runs in this session."),
        *(_command(text, "Begin this conversation anew.", takes_text=True) for text in reset_triggers),
    )

    async def commands(_call: Call, params: CommandsParams) -> Answer[Commands]:
        return Answer(Commands(() if params.scope == "native" else known))

    return (Method("commands.list", CommandsParams, commands),)


def _command(text: str, description: str, *, takes_text: bool = False) -> Command:
    name = text.removeprefix("/")
    return Command(name=name, text_aliases=(text,), description=description, accepts_args=takes_text)
