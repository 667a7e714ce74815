"""`chat.send`, `chat.abort`: say something in a session, and stop what runs in it, whoever started that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from openclaw_twisted.auth.scopes import MODEL_OVERRIDE, allows
from openclaw_twisted.errors import CancelledRunError, GatewayError, InvalidRequestError
from openclaw_twisted.events import RunFinished
from openclaw_twisted.runs.run import Run
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.attachments import Attachment, user_message
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.ledger import Ended, Entry, Ledger
from openclaw_twisted.ws.method import Answer, Call, Method, missing_scope
from openclaw_twisted.ws.params import MAX_INTEGER, invalid
from openclaw_twisted.ws.run_payloads import stop_reason
from openclaw_twisted.ws.session_target import find_session
from openclaw_twisted.ws.starting import MAX_KEY_CHARS, Asked, AskedThinking, Starter, wanted_thinking

__all__ = ["AbortParams", "ChatMethods", "SendParams"]

ABORT = "chat.abort"
SEND = "chat.send"
STOP = "/stop"

_Text = Annotated[str, Meta(min_length=1)]


class SendParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What may be said in a session; `timeoutMs` 0 is without end.

    With `queueMode` `interrupt` what runs in the session is stopped first; otherwise the message waits for
    its turn. The keys of type `Raw` are OpenClaw's own and change nothing here.
    """

    session_key: Annotated[str, Meta(min_length=1, max_length=512)]
    message: str
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
    agent_id: _Text | None = None
    session_id: _Text | None = None
    thinking: AskedThinking | None = None
    timeout_ms: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None = None
    attachments: tuple[Attachment, ...] = ()
    deliver: bool = False
    queue_mode: Literal["steer", "followup", "collect", "interrupt"] = "followup"
    suppress_command_interpretation: bool = False
    expected_leaf_entry_id: Raw = Raw()
    expected_permission_mode: Raw = Raw()
    expected_session_routing_contract: Raw = Raw()
    expected_tool_overrides: Raw = Raw()
    fast_auto_on_seconds: Raw = Raw()
    fast_mode: Raw = Raw()
    intent: Raw = Raw()
    mentions: Raw = Raw()
    originating_account_id: Raw = Raw()
    originating_channel: Raw = Raw()
    originating_thread_id: Raw = Raw()
    originating_to: Raw = Raw()
    reply_to_id: Raw = Raw()
    system_input_provenance: Raw = Raw()
    system_provenance_receipt: Raw = Raw()
    reconnect_resume: Raw = field(default=Raw(), name="__controlUiReconnectResume")
    tool_bindings: Raw = Raw()
    work_context: Raw = Raw()


class AbortParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which runs to stop: one of a session, or all of them; there are no side runs to preserve."""

    session_key: _Text
    run_id: _Text | None = None
    agent_id: _Text | None = None
    preserve_side_runs: bool = False


class Sent(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a message: it was taken (`started`), still runs (`in_flight`), or has been answered.

    `timeout` with a `stopReason` means that its run was stopped.
    """

    run_id: str
    status: Literal["started", "in_flight", "ok", "error", "timeout"]
    summary: str | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET


class Aborted(Struct, frozen=True, rename="camel"):
    """Which runs were stopped."""

    aborted: bool
    run_ids: tuple[str, ...]
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class ChatMethods:
    """The family of `chat.send` and `chat.abort`."""

    starter: Starter
    ledger: Ledger

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (Method(SEND, SendParams, self.send), Method(ABORT, AbortParams, self.abort))

    async def send(self, call: Call, params: SendParams) -> Answer[Sent | Aborted]:
        """Say something; the reply comes as `chat` events."""
        entry = await self.starter.earlier(params.idempotency_key, self.ledger)
        if entry is not None:
            return _sent_before(entry, call.client)
        if self.starter.runner.begins_anew(params.message) and not allows(call.client.scopes, MODEL_OVERRIDE):
            return missing_scope(call.client, MODEL_OVERRIDE)
        agent, key = find_session(
            SEND,
            self.starter.directory,
            agent_id=params.agent_id,
            key=params.session_key,
            chosen_id=params.session_id,
        )
        if params.message.strip() == STOP and not params.suppress_command_interpretation:
            return Answer(self._stop(self._of_session(key), f"The run was stopped by {STOP}.", by="stop"))
        asked = Asked(
            key=params.idempotency_key,
            agent=agent,
            session_key=key,
            message=user_message(SEND, params.message, params.attachments),
            thinking=wanted_thinking(params.thinking),
            timeout_seconds=None if params.timeout_ms is None else params.timeout_ms / 1000,
        )
        self._check(params)
        asked = await self.starter.with_model(asked)
        entry = self.ledger.find(params.idempotency_key)  # the same may have been sent meanwhile
        if entry is not None:
            return _sent_before(entry, call.client)
        if params.queue_mode == "interrupt":
            self.starter.check(asked)  # or what runs would be stopped for nothing
            self._stop(self._of_session(key), "The run was stopped by another message.")
        call.hold()
        entry = self.starter.start(asked, self.ledger)
        return Answer(Sent(run_id=entry.run_id, status="started"))

    async def abort(self, call: Call, params: AbortParams) -> Answer[Aborted]:
        """Stop what runs or waits; nothing to stop is no error."""
        return Answer(await self.stop(call.client, params))

    async def stop(self, client: Client, params: AbortParams) -> Aborted:
        """Stop what a client wants stopped, and return what that was."""
        await self.starter.recall.settle()  # or a message that came before this would start its run after it
        key = self._stoppable(params)
        runs = self._of_session(key) if params.run_id is None else self._one(params.run_id, key, client)
        return self._stop(runs, "The run was stopped by chat.abort.")

    def _stoppable(self, params: AbortParams) -> SessionKey:
        """Return the session that is meant; an agent that was removed may have runs yet."""
        try:
            directory = self.starter.directory
            return find_session(ABORT, directory, agent_id=params.agent_id, key=params.session_key)[1]
        except InvalidRequestError:
            active = {str(run.request.session_key): run for run in self.starter.runner.active()}
            run = active.get(params.session_key.strip().lower())
            if run is None or params.agent_id not in {None, run.request.agent_id}:
                raise
            return run.request.session_key

    def _check(self, params: SendParams) -> None:
        if params.deliver:
            raise invalid(SEND, "at /deliver: there are no channels to deliver to; leave it out")
        if not params.message.strip() and not params.attachments:
            raise InvalidRequestError("message or attachment required")

    def _stop(self, runs: tuple[Run, ...], message: str, *, by: str = "rpc") -> Aborted:
        # The last one first: none of them shall have its turn because the one before it was stopped.
        for run in reversed(runs):
            run.cancel(CancelledRunError(message, stop_reason=by))
        stopped = tuple(run.request.run_id for run in runs if run.stopped_by is not None)
        return Aborted(bool(stopped), stopped)

    def _of_session(self, key: SessionKey) -> tuple[Run, ...]:
        return tuple(run for run in self.starter.runner.active() if run.request.session_key == key)

    def _one(self, run_id: str, key: SessionKey, client: Client) -> tuple[Run, ...]:
        run = self.starter.runner.find(run_id)
        if run is None:
            return ()
        # Version 4 stops a run wherever it is; version 3 is told that it looks in the wrong place.
        if run.request.session_key != key and not client.speaks_4:
            raise InvalidRequestError("runId does not match sessionKey")
        return (run,)


def _sent_before(entry: Entry, client: Client) -> Answer[Sent | Aborted]:
    ended = entry.ended
    if ended is None:
        return Answer(Sent(run_id=entry.run_id, status="in_flight"))
    return _replayed(entry, ended, client)


def _replayed(entry: Entry, ended: Ended, client: Client) -> Answer[Sent | Aborted]:
    if isinstance(ended.outcome, RunFinished) or (ended.stopped and not client.speaks_4):
        return Answer(Sent(run_id=entry.run_id, status="ok"))
    error: GatewayError = ended.outcome.error
    if ended.stopped:
        return Answer(
            Sent(run_id=entry.run_id, status="timeout", summary="aborted", stop_reason=stop_reason(error))
        )
    return Answer(Sent(run_id=entry.run_id, status="error", summary=error.message), error=error)
