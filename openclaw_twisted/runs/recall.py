"""Runs of before the last restart, as those who repeat their requests find them.

In memory a repeated request finds its run by its key (`repeats`). A process that has just started knows
nothing of the runs before it, but the store does, and it is asked for as long as keys are kept. After that
everything that could be found has been forgotten there too.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from openclaw_twisted import errors
from openclaw_twisted.boundaries import Claim, Recollection, RunRecord, SessionStore
from openclaw_twisted.content import Message, text_of
from openclaw_twisted.errors import (
    CancelledRunError,
    GatewayError,
    InterruptedRunError,
    InvalidRequestError,
    StorageError,
)
from openclaw_twisted.events import (
    Finished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallDelta,
)
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.run import Run
from openclaw_twisted.session_key import SessionKey

__all__ = ["INTERRUPTED", "OTHER_REQUEST", "Recall"]

INTERRUPTED = (
    "The gateway stopped while this run was under way, and its answer is not complete. "
    "Send the request again with a new idempotency key."
)
OTHER_REQUEST = "This Idempotency-Key was sent before with another body. Send a new key with a new request."

_ERRORS: dict[str, type[GatewayError]] = {
    kind.code: kind
    for kind in (
        errors.AgentNotFoundError,
        errors.CancelledRunError,
        errors.ContextLengthError,
        errors.ModelNotReadyError,
        errors.NoProviderError,
        errors.OverloadedError,
        errors.StorageError,
        errors.UpstreamAuthError,
        errors.UpstreamError,
        errors.UpstreamOverloadedError,
        errors.UpstreamRateLimitError,
        errors.UpstreamRejectedError,
        errors.UpstreamTimeoutError,
    )
    if kind.code is not None
}


class Recall:
    """Finds the runs of before in a store that keeps keys for `keep_seconds`."""

    def __init__(self, store: SessionStore, clock: IReactorTime, *, keep_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._until = clock.seconds() + keep_seconds

    async def find(self, claim: Claim) -> Run | None:
        """Return the ended run of the request that has claimed a key; None when there is none.

        A run that the stop of the gateway cut off has failed with an `InterruptedRunError`. Raises
        `InvalidRequestError` when the key came with another request, `StorageError`. Once the time is over
        nothing is awaited.
        """
        if self._clock.seconds() >= self._until:
            return None
        found = await self._store.recall(claim.scope, claim.key)
        if found is None or found.run.status in {"queued", "running"}:
            return None
        if found.claim.digest != claim.digest:
            raise InvalidRequestError(OTHER_REQUEST)
        return _ended(found)

    async def settle(self) -> None:
        """Wait until what was looked for before has been found, or not; the store answers in order."""
        if self._clock.seconds() < self._until:
            with suppress(StorageError):  # then nothing was found
                await self._store.recall("", "")


def _ended(found: Recollection) -> Run:
    record = found.run
    agent_id, _, rest = record.session_key.removeprefix("agent:").partition(":")
    request = RunRequest(
        run_id=record.run_id,
        agent_id=record.agent_id,
        session_key=SessionKey(agent_id, rest),
        models=(record.model,),
        messages=(),
        claim=found.claim,
    )
    run = Run(request)
    run.started_at = record.started_at
    run.lifecycle.begin()
    run.feed.publish((RunStarted(record.started_at),))
    ended_at = record.ended_at or record.started_at
    if found.answer is not None:
        _finish(run, record, found.answer, ended_at)
    else:
        _fail(run, _error_of(record), ended_at)
    return run


def _finish(run: Run, record: RunRecord, answer: Message, at: float) -> None:
    said = _events(answer)
    if said:
        run.feed.publish(said)
    reason = record.finish_reason or "stop"
    run.reply.take((*said, Finished(reason, record.usage)))
    run.lifecycle.finish()
    finished = RunFinished(message=answer, reason=reason, usage=record.usage, at=at)
    run.feed.publish((finished,))
    run.settle(finished)


def _fail(run: Run, error: GatewayError, at: float) -> None:
    if isinstance(error, CancelledRunError | errors.UpstreamTimeoutError):
        run.stopped_by = error
    run.lifecycle.fail()
    failed: RunEvent = RunFailed(error, at)
    run.feed.publish((failed,))
    run.settle(Failure(error))


def _events(answer: Message) -> tuple[TextDelta | ToolCallDelta, ...]:
    text = text_of(answer)
    calls = (
        ToolCallDelta(index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(answer.tool_calls)
    )
    return (*((TextDelta(text),) if text else ()), *calls)


def _error_of(record: RunRecord) -> GatewayError:
    if record.status == "interrupted":
        return InterruptedRunError(INTERRUPTED)
    message = record.error_message or "The run failed; why is not known any more."
    return _ERRORS.get(record.error_code or "", errors.InternalError)(message)
