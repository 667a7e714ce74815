"""What the store is told about a run, and what is announced of it: how it began, what came of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from openclaw_twisted.boundaries import (
    RunRecord,
    RunStatus,
    SessionBus,
    SessionChange,
    SessionChangeReason,
    SessionStore,
    TurnRecord,
)
from openclaw_twisted.content import Message
from openclaw_twisted.errors import CancelledRunError, GatewayError, ShuttingDownError, StorageError
from openclaw_twisted.runs.run import Run

__all__ = ["Bookkeeping"]


class Bookkeeping:
    """Keeps runs in a store and announces them on a bus; `now` gives seconds since the epoch.

    A session's runs are kept durably, and so are those with an idempotency key of their own. Others are kept
    soon after, unless `keep_stateless` says not at all.
    """

    _log = Logger()

    def __init__(
        self, store: SessionStore, bus: SessionBus, now: Callable[[], float], *, keep_stateless: bool
    ) -> None:
        self._store = store
        self._bus = bus
        self._now = now
        self._keep_stateless = keep_stateless

    async def begin(self, run: Run) -> None:
        """Record that a run is at work, so that a crash can be told apart from an end."""
        if self._is_durable(run):
            await self._store.begin(self._record(run, "running"), run.request.claim)

    async def finish(self, run: Run, answer: Message) -> None:
        """Keep a turn with its answer."""
        await self._keep(run, self._record(run, "finished"), (*run.added, answer))

    async def break_off(self, run: Run, error: GatewayError) -> None:
        """Keep what there is of a run that did not finish; raises nothing when that fails."""
        # Tool calls of an incomplete answer may be cut in two, so only its text is worth keeping.
        text = run.reply.text
        messages = (*run.added, Message(role="assistant", content=text)) if text else ()
        status: RunStatus = "failed"
        if isinstance(error, CancelledRunError):
            status = "cancelled"
        elif isinstance(error, ShuttingDownError):
            status = "interrupted"
        try:
            await self._keep(run, self._record(run, status, error=error), messages, interrupted=True)
        except StorageError as unkept:  # the caller is to hear why the run failed, not this
            self._log.error(
                "run {run_id} could not be recorded: {reason}",
                run_id=run.request.run_id,
                reason=unkept.message,
            )

    def announce(self, run: Run, reason: SessionChangeReason) -> None:
        """Tell those who watch sessions what a run did to its own, unless that lasts for one request only."""
        if run.stateless:
            return
        self._bus.announce(
            SessionChange(session_key=run.key, agent_id=run.request.agent_id, reason=reason, at=self._now())
        )

    def _is_durable(self, run: Run) -> bool:
        if not run.stateless:
            return True
        return self._keep_stateless and run.request.claim is not None

    async def _keep(
        self, run: Run, record: RunRecord, messages: tuple[Message, ...], *, interrupted: bool = False
    ) -> None:
        turn = TurnRecord(run=record, messages=messages, interrupted=interrupted, claim=run.request.claim)
        if self._is_durable(run):
            await self._store.commit(turn)
        elif self._keep_stateless:
            self._store.note(turn)
        if messages:
            self.announce(run, "message")

    def _record(self, run: Run, status: RunStatus, *, error: GatewayError | None = None) -> RunRecord:
        request = run.request
        return RunRecord(
            run_id=request.run_id,
            session_key=run.key,
            agent_id=request.agent_id,
            model=run.model,
            status=status,
            started_at=run.started_at,
            ended_at=None if status == "running" else self._now(),
            finish_reason=run.reply.reason,
            error_code=error.code or error.kind if error else None,
            usage=run.reply.usage,
            error_message=error.message if error else None,
        )
