"""`agent`: one message to an agent; a response that it was accepted, later another with the reply.

A run belongs to the gateway, not to the connection that asked for it: it goes on when the client is gone, and
the client that comes back with the same idempotency key hears what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from openclaw_twisted.agents.directory import Agent, Directory
from openclaw_twisted.agents.target import permitted_model
from openclaw_twisted.auth.scopes import MODEL_OVERRIDE, allows
from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.config.sampling import with_defaults
from openclaw_twisted.config.settings import Thinking
from openclaw_twisted.content import Message
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.ledger import Entry, Ledger
from openclaw_twisted.ws.method import Answer, Call, Method, missing_scope
from openclaw_twisted.ws.methods.agent_reply import accepted, final, in_flight
from openclaw_twisted.ws.params import invalid
from openclaw_twisted.ws.session_target import find_session

__all__ = ["AgentMethods"]

METHOD = "agent"
MAX_KEY_CHARS = 256

# What reasoning models understand; those who let the model decide are not told anything.
_EFFORT: dict[Thinking, str] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
    "ultra": "xhigh",
}


class AgentParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What may be said with a message; `timeout` is in seconds, 0 is without end.

    `to`, the person to reply to, changes nothing: everybody is in the agent's main session.
    """

    message: Annotated[str, Meta(min_length=1)]
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
    agent_id: str | None = None
    session_key: str | None = None
    session_id: str | None = None
    to: str | None = None
    thinking: Thinking | None = None
    model: str | None = None
    deliver: bool = False
    timeout: Annotated[float, Meta(ge=0)] | None = None
    extra_system_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentMethods:
    """The family of `agent`.

    `now` gives seconds since the epoch; `timeout_seconds` bounds the runs that name no limit themselves.
    """

    runner: Runner
    directory: Directory
    ledger: Ledger
    now: Callable[[], float]
    timeout_seconds: float

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (Method(METHOD, AgentParams, self.agent),)

    async def agent(self, call: Call, params: AgentParams) -> Answer:
        """Run an agent, or tell about the run that the same idempotency key has started before."""
        entry, client = self.ledger.find(params.idempotency_key), call.client
        if entry is None:
            if params.model and not allows(client.scopes, MODEL_OVERRIDE):
                return missing_scope(client, MODEL_OVERRIDE)
            entry = self._start(params)
            call.accept(accepted(entry, client))
        elif entry.ended is None:
            if client.speaks_4:
                return Answer(in_flight(entry))
            call.accept(accepted(entry, client))
        return final(entry, await entry.end(), client)

    def _start(self, params: AgentParams) -> Entry:
        # Nothing may be awaited here: see `ledger`. A run of that id is somebody's of another door.
        key = params.idempotency_key
        run = self.runner.find(key) or self.runner.start(self._request(params))
        run.join()  # and never leave: whoever else was waiting, the run goes on without them
        return self.ledger.enter(key, run, accepted_at=self.now())

    def _request(self, params: AgentParams) -> RunRequest:
        if params.deliver:
            raise invalid(METHOD, "at /deliver: there are no channels to deliver to; leave it out")
        agent, session_key = find_session(
            METHOD,
            self.directory,
            agent_id=params.agent_id,
            key=params.session_key,
            chosen_id=params.session_id,
        )
        models = _models(agent, params.model)
        asked = Sampling(reasoning_effort=_EFFORT.get(params.thinking) if params.thinking else None)
        return RunRequest(
            run_id=params.idempotency_key,
            agent_id=agent.id,
            session_key=session_key,
            models=models,
            messages=(Message(role="user", content=params.message),),
            instructions=(params.extra_system_prompt,) if params.extra_system_prompt else (),
            sampling=with_defaults(asked, agent.params_for(models[0]) if models else {}),
            timeout_seconds=self.timeout_seconds if params.timeout is None else params.timeout,
        )


def _models(agent: Agent, asked_for: str | None) -> tuple[str, ...]:
    """Return the models to try, in order."""
    if not asked_for:
        return agent.candidates()
    return agent.candidates(permitted_model(agent, asked_for, "model"))
