"""`sessions.send`, `sessions.abort`: what `chat.send` and `chat.abort` do, by the key of a session."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from openclaw_twisted.ws.attachments import Attachment
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.methods.chat import Aborted, AbortParams, ChatMethods, SendParams, Sent
from openclaw_twisted.ws.params import MAX_INTEGER, invalid
from openclaw_twisted.ws.starting import MAX_KEY_CHARS, AskedThinking

__all__ = ["SessionAbortParams", "SessionRuns", "SessionSendParams"]

SEND = "sessions.send"
ABORT = "sessions.abort"

_Text = Annotated[str, Meta(min_length=1)]
_Key = Annotated[str, Meta(min_length=1, max_length=512)]


class SessionSendParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What to say in a session; without an idempotency key the run gets an id of its own."""

    key: _Key
    message: str
    agent_id: _Text | None = None
    thinking: AskedThinking | None = None
    timeout_ms: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None = None
    attachments: tuple[Attachment, ...] = ()
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)] | None = None
    mentions: Raw = Raw()


class SessionAbortParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which runs to stop: those of a session, or one; what waits is stopped in any case."""

    key: _Key | None = None
    run_id: _Text | None = None
    agent_id: _Text | None = None
    clear_queued: bool = False


class Stopped(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether anything was stopped, and the run that was at work."""

    ok: bool = True
    aborted_run_id: str | None
    status: Literal["aborted", "no-active-run"]


@dataclass(frozen=True, kw_only=True)
class SessionRuns:
    """The methods that start and stop runs by the key of their session; `new_id` names the runs."""

    chat: ChatMethods
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (
            Method(SEND, SessionSendParams, self.send),
            Method(ABORT, SessionAbortParams, self.abort),
        )

    async def send(self, call: Call, params: SessionSendParams) -> Answer[Sent | Aborted]:
        """Say something in a session."""
        return await self.chat.send(
            call,
            SendParams(
                session_key=params.key,
                message=params.message,
                idempotency_key=params.idempotency_key or self.new_id(),
                agent_id=params.agent_id,
                thinking=params.thinking,
                timeout_ms=params.timeout_ms,
                attachments=params.attachments,
            ),
        )

    async def abort(self, call: Call, params: SessionAbortParams) -> Answer[Stopped]:
        """Stop what runs or waits in a session; nothing to stop is no error."""
        if params.key is None and params.run_id is None:
            raise invalid(ABORT, "must have one of the properties 'key', 'runId'")
        key = params.key or await self._session_of(params.run_id or "")
        if key is None:
            return Answer(Stopped(aborted_run_id=None, status="no-active-run"))
        wanted = AbortParams(session_key=key, run_id=params.run_id, agent_id=params.agent_id)
        stopped = (await self.chat.stop(call.client, wanted)).run_ids
        if not stopped:
            return Answer(Stopped(aborted_run_id=None, status="no-active-run"))
        return Answer(Stopped(aborted_run_id=stopped[0], status="aborted"))

    async def _session_of(self, run_id: str) -> str | None:
        starter = self.chat.starter
        await starter.recall.settle()  # the message that came before this may be about to start its run
        run = starter.runner.find(run_id)
        return None if run is None else str(run.request.session_key)
