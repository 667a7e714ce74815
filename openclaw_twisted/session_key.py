"""The grammar of session keys: `agent:<agentId>:<rest>`, lower case, at most 512 characters.

A key is routing, not a file name and not a secret. Keys without the `agent:` prefix are local to an
agent: `raycast:chat:1` said to agent `main` means `agent:main:raycast:chat:1`. The prefixes
`subagent:`, `cron:` and `acp:` are OpenClaw's own and never accepted from outside.
"""

from __future__ import annotations

from typing import NamedTuple

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.ordered_id import new_id

__all__ = [
    "MAX_LENGTH",
    "RESPONSE",
    "SessionKey",
    "for_client",
    "for_response",
    "for_user",
    "parse",
    "stateless",
]

MAX_LENGTH = 512
RESERVED = ("subagent:", "cron:", "acp:")
_PREFIX = "agent:"
_STATELESS = "openai:"
RESPONSE = "openai-response:"
"""How the rest of a key begins whose session is continued by the ids of its responses."""


class SessionKey(NamedTuple):
    """A session's address: the agent it belongs to and the rest of the key."""

    agent_id: str
    rest: str

    def __str__(self) -> str:
        return f"{_PREFIX}{self.agent_id}:{self.rest}"

    @property
    def stateless(self) -> bool:
        """Whether this session lasts for one request only."""
        return self.rest.startswith(_STATELESS)


def parse(text: str, agent_id: str) -> SessionKey:
    """Read a session key that a client sent; a bare key belongs to `agent_id`.

    Raises `InvalidRequestError` for empty, oversized, malformed or reserved keys.
    """
    key = text.strip().lower()
    if not key:
        raise InvalidRequestError("The session key is empty. Leave it out for a stateless request.")
    if len(key) > MAX_LENGTH:
        raise InvalidRequestError(f"The session key is longer than {MAX_LENGTH} characters.")
    if not key.isprintable():
        raise InvalidRequestError("The session key contains control characters.")
    owner, rest = agent_id, key
    if key.startswith(_PREFIX):
        owner, _, rest = key.removeprefix(_PREFIX).partition(":")
        if not owner or not rest:
            raise InvalidRequestError(
                'A session key that starts with "agent:" reads "agent:<agentId>:<rest>".'
            )
    if rest.startswith(RESERVED):
        raise InvalidRequestError(
            "Session keys that begin with subagent:, cron: or acp: are reserved. Choose another prefix."
        )
    return SessionKey(owner, rest)


def stateless(agent_id: str) -> SessionKey:
    """Return the key of a session that lasts for one request."""
    return SessionKey(agent_id, f"{_STATELESS}{new_id()}")


def for_response(agent_id: str) -> SessionKey:
    """Return the key of a new conversation that is continued by the ids of its responses."""
    return SessionKey(agent_id, f"{RESPONSE}{new_id()}")


def for_user(agent_id: str, user: str) -> SessionKey:
    """Return the key of the session that the OpenAI `user` string stands for."""
    return parse(f"{_PREFIX}{agent_id}:openai-user:{user.strip()}", agent_id)


def for_client(agent_id: str, client: str, conversation: str) -> SessionKey:
    """Return the key of a conversation that a client names in a header of its own."""
    return parse(f"{_PREFIX}{agent_id}:{client}:{conversation.strip()}", agent_id)
