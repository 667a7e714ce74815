"""What the method `agent` answers: accepted, in flight, and how the run ended."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.content import text_of
from openclaw_twisted.events import RunFailed, RunFinished
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.ledger import Ended, Entry
from openclaw_twisted.ws.method import Answer
from openclaw_twisted.ws.run_payloads import stop_reason
from openclaw_twisted.ws.since import Since4

__all__ = ["Accepted", "AgentEnd", "accepted", "final", "in_flight"]


class Accepted(Struct, frozen=True, kw_only=True, rename="camel"):
    """The run was accepted, or goes on (`in_flight`)."""

    run_id: str
    status: Literal["accepted", "in_flight"]
    accepted_at: int | UnsetType = UNSET
    session_key: Since4[str] = UNSET
    agent_id: Since4[str] = UNSET


class ReplyPiece(Struct, frozen=True, rename="camel"):
    """A part of the reply, or why there is none."""

    text: str
    media_url: None = None
    is_error: bool | UnsetType = UNSET


class Usage(Struct, frozen=True):
    """Tokens."""

    input: int
    output: int
    total: int


class AgentMeta(Struct, frozen=True, rename="camel"):
    """Who answered; `usage` when the provider counted."""

    session_id: str
    provider: str
    model: str
    usage: Usage | UnsetType


class RunMeta(Struct, frozen=True, rename="camel"):
    """How the run went."""

    duration_ms: int
    agent_meta: AgentMeta
    aborted: bool
    stop_reason: str


class Reply(Struct, frozen=True):
    """What the agent said."""

    payloads: tuple[ReplyPiece, ...]
    meta: RunMeta


class AgentEnd(Struct, frozen=True, rename="camel"):
    """How a run ended."""

    run_id: str
    status: Literal["ok", "error", "timeout"]
    summary: str
    result: Reply | UnsetType = UNSET


def accepted(entry: Entry, client: Client) -> Accepted:
    """Return the payload of the first response; the session is told to version 4 only."""
    return Accepted(
        run_id=entry.run_id,
        status="accepted",
        accepted_at=int(entry.accepted_at * 1000),
        session_key=str(entry.session_key) if client.speaks_4 else UNSET,
        agent_id=entry.agent_id if client.speaks_4 else UNSET,
    )


def in_flight(entry: Entry) -> Accepted:
    """Return the payload for a key whose run goes on."""
    return Accepted(
        run_id=entry.run_id,
        status="in_flight",
        session_key=str(entry.session_key),
        agent_id=entry.agent_id,
    )


def final(entry: Entry, ended: Ended, client: Client, session_id: str) -> Answer[AgentEnd]:
    """Return the last response: the reply, that the run was stopped, or what went wrong."""
    outcome = ended.outcome
    if isinstance(outcome, RunFinished):
        text = text_of(outcome.message)
        result = Reply(
            payloads=(ReplyPiece(text),) if text else (),
            meta=_meta(entry, ended, session_id, outcome.reason),
        )
        return Answer(AgentEnd(entry.run_id, "ok", "completed", result))
    if ended.stopped:
        return Answer(_stopped(entry, ended, outcome, client, session_id))
    return Answer(AgentEnd(entry.run_id, "error", outcome.error.message), error=outcome.error)


def _stopped(entry: Entry, ended: Ended, outcome: RunFailed, client: Client, session_id: str) -> AgentEnd:
    # No error: the CLI of version 3 would answer an error by running the message a second time, on its own.
    reason = stop_reason(outcome.error)
    result = Reply(
        payloads=(ReplyPiece(outcome.error.message, is_error=True),),
        meta=_meta(entry, ended, session_id, reason),
    )
    return AgentEnd(entry.run_id, "timeout" if client.speaks_4 else "ok", "aborted", result)


def _meta(entry: Entry, ended: Ended, session_id: str, reason: str) -> RunMeta:
    provider, _, model = entry.model.partition("/")
    outcome = ended.outcome
    usage = outcome.usage if isinstance(outcome, RunFinished) else None
    counted = Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) if usage else UNSET
    return RunMeta(
        duration_ms=int(ended.seconds * 1000),
        agent_meta=AgentMeta(session_id, provider, model, counted),
        aborted=not isinstance(outcome, RunFinished),
        stop_reason=reason,
    )
