"""`agent`: one message to an agent; a response that it was accepted, later another with the reply.

A run belongs to the gateway, not to the connection that asked for it: it goes on when the client is gone, and
the client that comes back with the same idempotency key hears what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from openclaw_twisted.auth.scopes import MODEL_OVERRIDE, allows
from openclaw_twisted.ws.attachments import Attachment, user_message
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.ledger import Entry, Ledger
from openclaw_twisted.ws.method import Answer, Call, Method, missing_scope
from openclaw_twisted.ws.methods.agent_reply import Accepted, AgentEnd, accepted, final, in_flight
from openclaw_twisted.ws.params import MAX_INTEGER, invalid
from openclaw_twisted.ws.session_target import find_session
from openclaw_twisted.ws.starting import MAX_KEY_CHARS, Asked, AskedThinking, Starter, wanted_thinking

__all__ = ["AgentMethods", "AgentParams"]

METHOD = "agent"


class AgentParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What may be said with a message; `timeout` is in seconds, 0 is without end.

    `to`, the person to reply to, changes nothing: everybody is in the agent's main session. Nor do the keys
    of type `Raw`, with which OpenClaw's own programs tell where a message comes from and is to be delivered.
    """

    message: Annotated[str, Meta(min_length=1)]
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
    agent_id: str | None = None
    session_key: str | None = None
    session_id: str | None = None
    to: str | None = None
    thinking: AskedThinking | None = None
    model: str | None = None
    provider: str | None = None
    deliver: bool = False
    timeout: Annotated[float, Meta(ge=0, le=MAX_INTEGER)] | None = None
    attachments: tuple[Attachment, ...] = ()
    extra_system_prompt: str | None = None
    account_id: Raw = Raw()
    best_effort_deliver: Raw = Raw()
    channel: Raw = Raw()
    cleanup_bundle_mcp_on_run_end: Raw = Raw()
    group_channel: Raw = Raw()
    group_id: Raw = Raw()
    group_space: Raw = Raw()
    input_provenance: Raw = Raw()
    label: Raw = Raw()
    lane: Raw = Raw()
    reply_account_id: Raw = Raw()
    reply_channel: Raw = Raw()
    reply_to: Raw = Raw()
    thread_id: Raw = Raw()
    voice_wake_trigger: Raw = Raw()


@dataclass(frozen=True, kw_only=True)
class AgentMethods:
    """The family of `agent`."""

    starter: Starter
    ledger: Ledger

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (Method(METHOD, AgentParams, self.agent),)

    async def agent(self, call: Call, params: AgentParams) -> Answer[AgentEnd | Accepted]:
        """Run an agent, or tell about the run that the same idempotency key has started before."""
        session_key = await self.starter.key_of(params.session_key, params.session_id)
        entry, client = await self.starter.earlier(params.idempotency_key, self.ledger), call.client
        if entry is None:
            special = params.model or params.provider or self.starter.runner.begins_anew(params.message)
            if special and not allows(client.scopes, MODEL_OVERRIDE):
                return missing_scope(client, MODEL_OVERRIDE)
            asked = await self.starter.with_model(self._asked(params, session_key))
            entry = self.ledger.find(params.idempotency_key)  # the same may have been asked meanwhile
            # From here to the start of the run nothing may be awaited: see `ledger`.
            if entry is None:
                return await self._run(call, asked)
        if entry.ended is None:
            if client.speaks_4:
                return Answer(in_flight(entry))
            call.accept(accepted(entry, client))
        return await self._end_of(entry, client)

    async def _run(self, call: Call, asked: Asked) -> Answer[AgentEnd | Accepted]:
        call.hold()
        entry = self.starter.start(asked, self.ledger)
        call.accept(accepted(entry, call.client))
        return await self._end_of(entry, call.client)

    async def _end_of(self, entry: Entry, client: Client) -> Answer[AgentEnd | Accepted]:
        ended = await entry.end()
        return final(entry, ended, client, await self.starter.session_id(entry.session_key))

    def _asked(self, params: AgentParams, session_key: str | None) -> Asked:
        if params.deliver:
            raise invalid(METHOD, "at /deliver: there are no channels to deliver to; leave it out")
        agent, target = find_session(
            METHOD,
            self.starter.directory,
            agent_id=params.agent_id,
            key=session_key,
            chosen_id=params.session_id,
        )
        return Asked(
            key=params.idempotency_key,
            agent=agent,
            session_key=target,
            message=user_message(METHOD, params.message, params.attachments),
            model=_model(params),
            thinking=wanted_thinking(params.thinking),
            instructions=(params.extra_system_prompt,) if params.extra_system_prompt else (),
            timeout_seconds=params.timeout,
        )


def _model(params: AgentParams) -> str | None:
    """Return the model that is asked for; some clients tell its provider apart."""
    if params.provider is None:
        return params.model
    if params.model is None:
        raise invalid(METHOD, "at /provider: names no model without one beside it")
    return f"{params.provider}/{params.model}"
