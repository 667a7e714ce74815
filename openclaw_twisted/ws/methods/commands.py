"""`commands.list`: the messages that are commands."""

from __future__ import annotations

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


_STOP = Command(
    name=STOP.removeprefix("/"), text_aliases=(STOP,), description="Stop what runs in this session."
)


def commands_methods() -> tuple[Method[Any], ...]:
    """Return the methods of this family."""

    async def commands(_call: Call, params: CommandsParams) -> Answer:
        return Answer(Commands(() if params.scope == "native" else (_STOP,)))

    return (Method("commands.list", CommandsParams, commands),)
