"""Which agent and which session a method's params mean.

    nothing                          the main session of the default agent
    agentId "a"                      agent:a:main
    sessionKey "main", "foo"         agent:<agentId or the default>:main, ...:foo
    sessionKey "agent:a:foo"         that session; an agentId beside it has to be "a"
    sessionId "x"                    agent:<agentId or the default>:explicit:x
    sessionId "agent:a:foo"          that session: the id that we report is the key

https://docs.openclaw.ai/concepts/session
"""

from __future__ import annotations

from openclaw_twisted import session_key
from openclaw_twisted.agents.directory import Agent, Directory, shown
from openclaw_twisted.boundaries import SessionStore
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.params import invalid

__all__ = ["MAIN_KEY", "find_session", "kept_session", "main_session"]

MAIN_KEY = "main"

_EXPLICIT = "explicit:"
_KEY_PREFIX = "agent:"


def main_session(agent: Agent) -> SessionKey:
    """Return the session that an agent is in when nobody names one."""
    return SessionKey(agent.id, MAIN_KEY)


def find_session(
    method: str,
    directory: Directory,
    *,
    agent_id: str | None = None,
    key: str | None = None,
    chosen_id: str | None = None,
) -> tuple[Agent, SessionKey]:
    """Return the agent and the session; `chosen_id` counts where there is no key.

    Raises `InvalidRequestError` for agents that there are not, and for malformed or contradicting keys.
    """
    chosen = _agent(method, directory, agent_id) if agent_id else None
    agent = chosen or directory.default
    text = key or _key_of_id(agent, chosen_id)
    if not text:
        return agent, main_session(agent)
    try:
        found = session_key.parse(text, agent.id)
    except InvalidRequestError as error:
        raise invalid(method, f'malformed session key "{shown(text)}". {error.message}') from None
    owner = _agent(method, directory, found.agent_id)
    if chosen is not None and owner.id != chosen.id:
        raise invalid(method, f'agent "{chosen.id}" does not match session key agent "{owner.id}"')
    return owner, SessionKey(owner.id, found.rest)


async def kept_session(
    method: str, directory: Directory, store: SessionStore, *, key: str, agent_id: str | None = None
) -> SessionKey:
    """Return the session that is to be looked at or deleted, be it what a removed agent has left behind.

    Raises `InvalidRequestError` as `find_session` does.
    """
    try:
        return find_session(method, directory, agent_id=agent_id, key=key)[1]
    except InvalidRequestError:
        left = await store.session(key.strip().lower())
        if left is None or directory.get(left.agent_id) is not None:
            raise
        if agent_id is not None and agent_id.strip().lower() != left.agent_id:
            raise
        return session_key.parse(left.session_key, left.agent_id)


def _key_of_id(agent: Agent, chosen_id: str | None) -> str:
    if not chosen_id or chosen_id.strip().lower().startswith(_KEY_PREFIX):
        return chosen_id or ""
    return f"{_KEY_PREFIX}{agent.id}:{_EXPLICIT}{chosen_id.strip()}"


def _agent(method: str, directory: Directory, agent_id: str) -> Agent:
    agent = directory.get(agent_id)
    if agent is None:
        raise invalid(method, f'unknown agent id "{shown(agent_id)}". The agents are: {directory.listing()}.')
    return agent
