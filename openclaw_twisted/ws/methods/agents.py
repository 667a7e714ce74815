"""`agents.list`, `agent.identity.get`: who there is to talk to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from openclaw_twisted.agents.directory import Agent, Directory
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import NoParams
from openclaw_twisted.ws.session_target import MAIN_KEY, find_session
from openclaw_twisted.ws.since import Since4

__all__ = ["IdentityParams", "agents_methods"]

LIST = "agents.list"
IDENTITY = "agent.identity.get"

_LOADABLE = ("http://", "https://", "data:image/")

_Text = Annotated[str, Meta(min_length=1)]


class IdentityParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which agent: by its id, or as the one that a session belongs to; without either the default one."""

    agent_id: _Text | None = None
    session_key: str | None = None


class AgentModels(Struct, frozen=True, kw_only=True):
    """The models that an agent asks, in order."""

    primary: str
    fallbacks: tuple[str, ...]


class ListedAgent(Struct, frozen=True, kw_only=True):
    """One agent."""

    id: str
    name: str
    model: Since4[AgentModels] = UNSET


class AgentsList(Struct, frozen=True, kw_only=True, rename="camel"):
    """All agents; the last two keys are told to version 4."""

    default_id: str
    main_key: str = MAIN_KEY
    scope: Literal["per-sender"] = "per-sender"
    agents: tuple[ListedAgent, ...]
    ownership: Since4[Literal["sole"]] = UNSET
    selection_required: Since4[bool] = UNSET


class Identity(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a page shows of an agent; a picture that is a file is not told, because a page cannot load it."""

    agent_id: str
    name: str
    avatar: str | UnsetType = UNSET
    emoji: str | UnsetType = UNSET


def agents_methods(directory: Directory) -> tuple[Method[Any], ...]:
    """Return the methods of this family."""

    async def list_agents(call: Call, _params: NoParams) -> Answer[AgentsList]:
        new = call.client.speaks_4
        agents = (directory.named(agent_id) for agent_id in directory.ids)
        return Answer(
            AgentsList(
                default_id=directory.default.id,
                agents=tuple(_listed(agent, speaks_4=new) for agent in agents),
                ownership="sole" if new else UNSET,
                selection_required=False if new else UNSET,
            )
        )

    async def identity(_call: Call, params: IdentityParams) -> Answer[Identity]:
        agent, _ = find_session(IDENTITY, directory, agent_id=params.agent_id, key=params.session_key)
        return Answer(
            Identity(
                agent_id=agent.id,
                name=agent.name,
                avatar=_picture(agent),
                emoji=agent.emoji or UNSET,
            )
        )

    return (Method(LIST, NoParams, list_agents), Method(IDENTITY, IdentityParams, identity))


def _picture(agent: Agent) -> str | UnsetType:
    avatar = agent.avatar
    return avatar if avatar is not None and avatar.startswith(_LOADABLE) else UNSET


def _listed(agent: Agent, *, speaks_4: bool) -> ListedAgent:
    models = agent.candidates()
    model = AgentModels(primary=models[0], fallbacks=models[1:]) if models and speaks_4 else UNSET
    return ListedAgent(id=agent.id, name=agent.name, model=model)
