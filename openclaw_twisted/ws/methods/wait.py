"""`agent.wait`: how a run ended, waiting for it if need be, whichever door it came through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.boundaries import RunRecord, RunStatus
from openclaw_twisted.events import RunFinished
from openclaw_twisted.runs.feed import Subscription
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.ledger import Ended, Entry, Ledger
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.run_payloads import stop_reason

__all__ = ["WaitMethods", "WaitParams"]

METHOD = "agent.wait"
DEFAULT_TIMEOUT_MS = 30_000
MAX_TIMEOUT_MS = 86_400_000

_STATUS: Mapping[RunStatus, Literal["ok", "timeout"]] = {"finished": "ok", "cancelled": "timeout"}


class WaitParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which run, and how long to wait at most; a run that nobody knows may yet start."""

    run_id: Annotated[str, Meta(min_length=1)]
    timeout_ms: Annotated[int, Meta(ge=0, le=MAX_TIMEOUT_MS)] = DEFAULT_TIMEOUT_MS


class Waited(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the run ended; `timeout` without `endedAt` means that it has not. Times in ms since the epoch."""

    run_id: str
    status: Literal["ok", "error", "timeout"]
    started_at: int | UnsetType = UNSET
    ended_at: int | UnsetType = UNSET
    error: str | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET


@dataclass(frozen=True, kw_only=True)
class WaitMethods:
    """The family of `agent.wait`; `ledgers` remember the runs that have ended."""

    runner: Runner
    ledgers: tuple[Ledger, ...]
    clock: IReactorTime

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (Method(METHOD, WaitParams, self.wait),)

    async def wait(self, _call: Call, params: WaitParams) -> Answer[Waited]:
        """Wait for a run's end; cancelling stops the waiting, not the run."""
        run_id = params.run_id
        ended = next((entry.ended for entry in self._entries(run_id) if entry.ended), None)
        if ended is not None:
            return Answer(_waited(run_id, ended))
        waiting = _Waiting(self.runner, run_id)
        try:
            if not waiting.knows_it:
                record = await self.runner.sessions.store.run(run_id)
                if record is not None and record.ended_at is not None:
                    return Answer(_recorded(record, record.ended_at))
            return Answer(_waited(run_id, await waiting.end(self.clock, params.timeout_ms / 1000)))
        finally:
            waiting.stop()

    def _entries(self, run_id: str) -> list[Entry]:
        found = (ledger.find(run_id) for ledger in self.ledgers)
        return [entry for entry in found if entry is not None]


class _Waiting:
    """Somebody who waits for a run that goes on, or that may yet start."""

    def __init__(self, runner: Runner, run_id: str) -> None:
        self._run_id = run_id
        self._end: Deferred[Ended | None] = Deferred()
        self._entry: Entry | None = None
        self._subscription: Subscription | None = None
        self._stop_watching = runner.watch(self._started)
        run = runner.find(run_id)
        if run is not None:
            self._started(run)

    @property
    def knows_it(self) -> bool:
        """Whether the run goes on, or has ended since."""
        return self._entry is not None

    async def end(self, clock: IReactorTime, seconds: float) -> Ended | None:
        timer = clock.callLater(seconds, self._answer)
        try:
            return await self._end
        finally:
            if timer.active():
                timer.cancel()

    def stop(self) -> None:
        # A run may last for hours, and be asked about every second: what is left here would hear all of it.
        self._stop_watching()
        if self._subscription is not None:
            self._subscription.cancel()

    def _started(self, run: Run) -> None:
        if run.request.run_id == self._run_id and self._entry is None:
            self._entry = Entry(run, 0.0, self._answer)
            self._subscription = run.feed.subscribe(self._entry)

    def _answer(self) -> None:
        if not self._end.called:
            self._end.callback(self._entry.ended if self._entry else None)


def _waited(run_id: str, ended: Ended | None) -> Waited:
    if ended is None:
        return Waited(run_id=run_id, status="timeout")
    outcome = ended.outcome
    status, error, reason = _meaning(ended)
    return Waited(
        run_id=run_id,
        status=status,
        started_at=int((outcome.at - ended.seconds) * 1000) if ended.seconds else UNSET,
        ended_at=int(outcome.at * 1000),
        error=error,
        stop_reason=reason,
    )


def _recorded(record: RunRecord, ended_at: float) -> Waited:
    return Waited(
        run_id=record.run_id,
        status=_STATUS.get(record.status, "error"),
        started_at=int(record.started_at * 1000),
        ended_at=int(ended_at * 1000),
        error=(record.error_message or record.status) if record.status not in _STATUS else UNSET,
        stop_reason="rpc" if record.status == "cancelled" else record.finish_reason or UNSET,
    )


def _meaning(ended: Ended) -> tuple[Literal["ok", "error", "timeout"], str | UnsetType, str | UnsetType]:
    outcome = ended.outcome
    if isinstance(outcome, RunFinished):
        return "ok", UNSET, outcome.reason
    if ended.stopped:
        return "timeout", UNSET, stop_reason(outcome.error)
    return "error", outcome.error.message, UNSET
