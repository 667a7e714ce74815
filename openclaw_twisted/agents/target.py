"""Which agent, which model and which session a request means: the model field, some headers, and `user`.

The table of docs/how-to/agents.md, in its order: an agent header beats the model field; a session key header
beats the headers of chat clients, which beat `user`; without any of them the request stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import msgspec
from twisted.web.http_headers import Headers

from openclaw_twisted import session_key
from openclaw_twisted.agents.directory import Agent, Directory, shown
from openclaw_twisted.config.settings import ChatCompletionsSettings
from openclaw_twisted.errors import AgentNotFoundError, ForbiddenError, InvalidRequestError
from openclaw_twisted.session_key import SessionKey

__all__ = [
    "AGENT_HEADERS",
    "DEFAULT_MODEL",
    "MAX_MODEL_CHARS",
    "MODEL_HEADER",
    "RESENDING_HEADERS",
    "SESSION_HEADER",
    "Target",
    "find_model",
    "known_model_ids",
    "permitted_model",
    "resolve_target",
]

DEFAULT_MODEL = "openclaw"
MAX_MODEL_CHARS = 256

AGENT_HEADERS = ("x-openclaw-agent-id", "x-openclaw-agent")
MODEL_HEADER = "x-openclaw-model"
SESSION_HEADER = "x-openclaw-session-key"
RESENDING_HEADERS = frozenset({"x-openwebui-chat-id"})
"""Headers by which clients name a conversation that they send whole each time.

They also name it in errands of their own: Open WebUI has titles, tags and follow-up questions written, which
the next turn must not know of, and lets its users change what was said.
"""
AFFINITY_HEADER = "x-session-affinity"
ROUTED_BY = "x-session-id"
"""The headers by which coding agents, opencode among them, ask for the server that has their prompt cached.

Together they name no conversation: such an agent sends it whole each time, with what its user took back left
out, and puts the same two on titles and summaries, which it has written meanwhile.
"""
_DEFAULT_FORMS = ("", "openclaw", "openclaw/default", "openclaw:default")
_AGENT_FORMS = ("openclaw/", "openclaw:", "agent:")

UnknownModel = Literal["reject", "default-agent"]

_Given = Mapping[bytes, Sequence[bytes]]
"""A request's headers, spelled as Twisted does."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a request means.

    `model_override` is the backend model that the caller asked for, `model_echo` the model name that the
    answer repeats. `session_pinned` says that the caller named the session by its key, `resends` that it
    names a conversation that it sends whole each time.
    """

    agent: Agent
    session_key: SessionKey
    model_echo: str
    model_override: str | None = None
    session_pinned: bool = False
    resends: bool = False


def resolve_target(
    directory: Directory,
    model: str | None,
    headers: Headers,
    user: str | None,
    options: ChatCompletionsSettings,
) -> Target:
    """Read a chat request's target.

    Raises `AgentNotFoundError` for agents and models that there are not, `ForbiddenError` for a model that
    the agent's policy excludes, `InvalidRequestError` for malformed or contradicting values.
    """
    given = dict(headers.getAllRawHeaders())
    chosen = _chosen_agent(directory, model or "", given, options.unknown_model)
    agent, key, resends = _session(directory, chosen, given, user, options)
    return Target(
        agent=agent,
        session_key=key,
        model_echo=model or DEFAULT_MODEL,
        model_override=_model_override(agent, given),
        session_pinned=_header(given, SESSION_HEADER) is not None and not key.stateless,
        resends=resends,
    )


def known_model_ids(directory: Directory) -> tuple[str, ...]:
    """Return the model names to list: the default agent's two, and one for each agent."""
    named = (f"openclaw/{agent_id}" for agent_id in directory.ids)
    return tuple(dict.fromkeys((DEFAULT_MODEL, "openclaw/default", *named)))


def find_model(directory: Directory, model: str, unknown_model: UnknownModel = "reject") -> Agent:
    """Return the agent that a model name stands for, in every form that a chat request may use.

    Raises `AgentNotFoundError`.
    """
    return _agent_of_model(directory, model, unknown_model) or directory.default


def _chosen_agent(directory: Directory, model: str, given: _Given, unknown: UnknownModel) -> Agent | None:
    """Return the agent that the request names, None when it leaves the choice to us."""
    named = _header(given, *AGENT_HEADERS)
    if named is not None:
        return directory.named(named)
    return _agent_of_model(directory, model, unknown)


def _agent_of_model(directory: Directory, model: str, unknown: UnknownModel) -> Agent | None:
    text = model.strip().lower()
    if text in _DEFAULT_FORMS:
        return None
    for prefix in _AGENT_FORMS:
        if text.startswith(prefix):
            return directory.named(text.removeprefix(prefix), param="model")
    if unknown == "default-agent":
        return None
    near = f' Did you mean "openclaw/{text}"?' if directory.get(text) is not None else ""
    raise AgentNotFoundError(
        f'The model "{shown(model)}" does not exist.{near} Models are agents here: use "openclaw" for the '
        f'default agent or "openclaw/<agentId>". The agents are: {directory.listing()}. '
        f"To choose the backend model, send the header {MODEL_HEADER}. To let the default agent answer to "
        'other names, set gateway.http.endpoints.chatCompletions.unknownModel to "default-agent".',
        param="model",
    )


def _session(
    directory: Directory,
    chosen: Agent | None,
    given: _Given,
    user: str | None,
    options: ChatCompletionsSettings,
) -> tuple[Agent, SessionKey, bool]:
    """Return the agent, the session, and whether its client resends it."""
    agent = chosen or directory.default
    pinned = _header(given, SESSION_HEADER)
    # All are read, so that a malformed one is refused whether or not another one decides.
    conversations = [(name, _header(given, name)) for name in options.session_headers]
    if pinned is not None:
        return *_given_session(directory, agent, pinned, explicit=chosen is not None), False
    for name, conversation in conversations:
        if conversation is not None:
            header = name.strip().lower()
            if header == ROUTED_BY and _spelled(AFFINITY_HEADER) in given:
                continue
            client = header.removeprefix("x-").removesuffix("-id")
            key = session_key.for_client(agent.id, client, conversation)
            return agent, key, header in RESENDING_HEADERS
    if options.user_policy == "session" and user is not None and user.strip():
        try:
            return agent, session_key.for_user(agent.id, user), False
        except InvalidRequestError as error:
            raise InvalidRequestError(error.message, param="user") from error
    return agent, session_key.stateless(agent.id), False


def _given_session(
    directory: Directory, agent: Agent, text: str, *, explicit: bool
) -> tuple[Agent, SessionKey]:
    """Read a session key that may name an agent of its own."""
    key = session_key.parse(text, agent.id)
    if key.agent_id == agent.id:
        return agent, key
    owner = directory.named(key.agent_id)
    if explicit:
        raise InvalidRequestError(
            f'The request chooses the agent "{agent.id}", but its session key belongs to the agent '
            f'"{owner.id}". Name the same agent in both, or in one place only.'
        )
    return owner, key


def permitted_model(agent: Agent, given: str, where: str) -> str:
    """Return the backend model that a caller asks for, as the agent's policy spells it.

    `where` names the place the caller wrote it in. Raises `InvalidRequestError` for what is no model's name,
    `ForbiddenError` for a model that the policy excludes.
    """
    if len(given) > MAX_MODEL_CHARS or " " in given or not (given.isprintable() and all(given.split("/"))):
        raise InvalidRequestError(f"{where} reads <provider>/<model>, or the name of a model alone.")
    wanted = agent.model_named(given)
    permitted = _permitted(agent, wanted)
    if permitted is None:
        raise ForbiddenError(
            f'The agent "{agent.id}" may not use the model "{shown(wanted)}". The models that may be asked '
            "for are listed in agents.defaults.modelPolicy.allow, or in the agent's own modelPolicy.allow."
        )
    return permitted


def _model_override(agent: Agent, given: _Given) -> str | None:
    model = _header(given, MODEL_HEADER)
    return None if model is None else permitted_model(agent, model, f"The header {MODEL_HEADER}")


def _permitted(agent: Agent, wanted: str) -> str | None:
    """Return the wanted model as the policy spells it, None when the policy excludes it.

    A bare name becomes the listed `provider/model`: another provider's model of that name is not meant.
    """
    if not agent.model_policy.allow:
        return wanted
    listed = [*agent.model_policy.allow, *([agent.model.primary] if agent.model else [])]
    for entry in map(agent.model_named, listed):
        if wanted == entry or (entry.endswith("/*") and wanted.startswith(entry[:-1])):
            return wanted
        if "/" not in wanted and entry.partition("/")[2] == wanted != "*":
            return entry
    return None


def _header(given: _Given, *names: str) -> str | None:
    """Return the one value that the headers of these names have; None when there is none or it is blank.

    Raises `InvalidRequestError` for values that differ, are not UTF-8 or hold control characters.
    """
    found: str | None = None
    for name in names:
        for raw in given.get(_spelled(name), ()):
            text = _text(name, raw)
            if text and found and text != found:
                raise InvalidRequestError(f"The header {name} is given twice, with different values.")
            found = text or found
    return found


@cache  # the names are ours and those of the configuration
def _spelled(name: str) -> bytes:
    """Return a header's name as Twisted's `Headers` spell it."""
    one = Headers({name.strip().encode("ascii", "replace"): [b""]})
    return next(name for name, _ in one.getAllRawHeaders())


def _text(name: str, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"The header {name} is not valid UTF-8.") from error
    if not text.isprintable():
        raise InvalidRequestError(f"The header {name} contains control characters.")
    return text
