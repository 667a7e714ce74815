"""`chat.abort`: stop the runs of a session, whoever started them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.errors import CancelledRunError, InvalidRequestError
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.session_key import SessionKey
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.session_target import find_session

__all__ = ["ChatMethods"]

ABORT = "chat.abort"

_Text = Annotated[str, Meta(min_length=1)]


class AbortParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which runs to stop: one of a session, or all of them; there are no side runs to preserve."""

    session_key: _Text
    run_id: _Text | None = None
    agent_id: _Text | None = None
    preserve_side_runs: bool = False


class _Aborted(Struct, frozen=True, rename="camel"):
    aborted: bool
    run_ids: tuple[str, ...]
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class ChatMethods:
    """The family of `chat.abort`."""

    runner: Runner
    directory: Directory

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (Method(ABORT, AbortParams, self.abort),)

    async def abort(self, call: Call, params: AbortParams) -> Answer:
        """Stop what runs or waits; nothing to stop is no error."""
        _, key = find_session(ABORT, self.directory, agent_id=params.agent_id, key=params.session_key)
        if params.run_id is None:
            runs = tuple(run for run in self.runner.active() if run.request.session_key == key)
        else:
            runs = self._one(params.run_id, key, call.client)
        for run in runs:
            run.cancel(CancelledRunError("The run was stopped by chat.abort."))
        return Answer(_Aborted(bool(runs), tuple(run.request.run_id for run in runs)))

    def _one(self, run_id: str, key: SessionKey, client: Client) -> tuple[Run, ...]:
        run = self.runner.find(run_id)
        if run is None:
            return ()
        # Version 4 stops a run wherever it is; version 3 is told that it looks in the wrong place.
        if run.request.session_key != key and not client.speaks_4:
            raise InvalidRequestError("runId does not match sessionKey")
        return (run,)
