"""`config.get`: the configuration in effect, without its secrets.

What is a secret is known by its type, not by its name: whatever the settings hold as `Secret` is written as
`REDACTED`, and user names and passwords in addresses are taken out. The text of the file is never told.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import Secret, Settings
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import NoParams

__all__ = ["REDACTED", "config_methods"]

REDACTED = "__OPENCLAW_REDACTED__"
"""What clients know as a secret that they may not see."""

_USER_INFO = re.compile(rb'://[^/@"\\\s]+@')


class Issue(Struct, frozen=True):
    """Something in the configuration that its owner should know."""

    path: str
    message: str


class Config(Struct, frozen=True, kw_only=True, rename="camel"):
    """The configuration; `hash` changes with what is told of it. `raw`, the file's text, is not told."""

    path: str | None
    exists: bool
    raw: None = None
    parsed: Raw
    resolved: Raw
    valid: bool = True
    config: Raw
    hash: str
    issues: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...]
    legacy_issues: tuple[Issue, ...] = ()


def config_methods(loaded: Loaded) -> tuple[Method[Any], ...]:
    """Return the methods of this family."""
    told = _told(loaded.settings)
    config = Config(
        path=str(loaded.path) if loaded.path is not None else None,
        exists=loaded.path is not None,
        parsed=told,
        resolved=told,
        config=told,
        hash=hashlib.sha256(bytes(told)).hexdigest(),
        warnings=tuple(Issue(problem.path, problem.message) for problem in loaded.warnings),
    )

    async def get(_call: Call, _params: NoParams) -> Answer[Config]:
        return Answer(config)

    return (Method("config.get", NoParams, get),)


def _told(settings: Settings) -> Raw:
    text = msgspec.json.encode(settings, enc_hook=_redacted)
    return Raw(_USER_INFO.sub(b"://***@", text))


def _redacted(value: object) -> object:
    if isinstance(value, Secret):
        return REDACTED
    raise NotImplementedError(type(value).__name__)
