"""`runs.list`: what runs, what waits, and how the latest runs ended, whichever door they came through.

OpenClaw's own gateway has no such method. What is listed here is stopped with `chat.abort`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.boundaries import RunRecord, RunStatus
from openclaw_twisted.content import Usage
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.session_payloads import milliseconds
from openclaw_twisted.ws.session_target import find_session

__all__ = ["RunMethods", "RunsParams"]

LIST = "runs.list"

_Text = Annotated[str, Meta(min_length=1, max_length=512)]


class RunsParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which runs: all that are under way, and with `limit` that many of the latest as well."""

    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    session_key: _Text | None = None


class RunTokens(Struct, frozen=True, kw_only=True):
    """What a run cost, in tokens."""

    input: int
    output: int
    total: int


class ListedRun(Struct, frozen=True, kw_only=True, rename="camel"):
    """A run; times in ms since the epoch. One that waits for its turn (`queued`) has none."""

    run_id: str
    session_key: str
    agent_id: str
    status: RunStatus
    model: str
    started_at: int | UnsetType = UNSET
    ended_at: int | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    usage: RunTokens | UnsetType = UNSET


class RunsList(Struct, frozen=True, kw_only=True):
    """The runs, those under way first, each kind with the latest first; `ts` is the gateway's time."""

    ts: int
    runs: tuple[ListedRun, ...]


@dataclass(frozen=True, kw_only=True)
class RunMethods:
    """The family of `runs.list`; `now` gives seconds since the epoch."""

    runner: Runner
    directory: Directory
    now: Callable[[], float]

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (Method(LIST, RunsParams, self.list),)

    async def list(self, _call: Call, params: RunsParams) -> Answer[RunsList]:
        """List runs."""
        key = None
        if params.session_key is not None:
            key = str(find_session(LIST, self.directory, key=params.session_key)[1])
        active = [run for run in self.runner.active() if key in {None, str(run.request.session_key)}]
        ended = () if params.limit is None else await self._latest(key, params.limit, active)
        under_way = tuple(_under_way(run) for run in reversed(active))
        return Answer(RunsList(ts=milliseconds(self.now()), runs=under_way + ended))

    async def _latest(self, key: str | None, limit: int, active: Sequence[Run]) -> tuple[ListedRun, ...]:
        """Return the latest runs but those under way, which the store may have too."""
        told = {run.request.run_id for run in active}
        records = await self.runner.sessions.store.runs(key, limit + len(told))
        return tuple(_kept(record) for record in records if record.run_id not in told)[:limit]


def _under_way(run: Run) -> ListedRun:
    request = run.request
    return ListedRun(
        run_id=request.run_id,
        session_key=str(request.session_key),
        agent_id=request.agent_id,
        status=run.status,
        model=run.model,
        started_at=milliseconds(run.started_at) if run.started_at else UNSET,
    )


def _kept(record: RunRecord) -> ListedRun:
    return ListedRun(
        run_id=record.run_id,
        session_key=record.session_key,
        agent_id=record.agent_id,
        status=record.status,
        model=record.model,
        started_at=milliseconds(record.started_at),
        ended_at=UNSET if record.ended_at is None else milliseconds(record.ended_at),
        stop_reason=record.finish_reason or UNSET,
        error=record.error_message or UNSET,
        usage=_tokens(record.usage),
    )


def _tokens(usage: Usage | None) -> RunTokens | UnsetType:
    if usage is None:
        return UNSET
    return RunTokens(input=usage.prompt_tokens, output=usage.completion_tokens, total=usage.total_tokens)
