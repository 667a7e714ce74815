"""Runs listed and stopped, also at a gateway that cannot list them."""

from __future__ import annotations

from collections.abc import Mapping

from openclaw_twisted.cli.answers import Aborted, Runs, Sessions, read
from openclaw_twisted.cli.client import Session
from openclaw_twisted.cli.conversation import RefusedError
from openclaw_twisted.cli.ending import CommandError

__all__ = ["listed_runs", "stop_run"]

METHOD = "runs.list"
MAX_SESSIONS = 1000

_MAIN = "main"


async def listed_runs(session: Session, params: Mapping[str, object]) -> bytes:
    """Return the gateway's list; raises `CommandError` for a gateway that has none."""
    if METHOD not in session.methods:
        raise CommandError(
            "This gateway does not list its runs: runs.list is a method of openclaw-twisted's gateway "
            "only. `openclaw-gateway sessions list` shows which sessions are at work."
        )
    return await session.conversation.request(METHOD, params)


async def stop_run(session: Session, run_id: str) -> bytes:
    """Stop a run in whichever session it is; return the gateway's answer."""
    *others, last = await _sessions_of(session, run_id)
    for key in others:
        try:
            answer = await session.conversation.request("chat.abort", {"sessionKey": key, "runId": run_id})
        except RefusedError:  # the run is another session's
            continue
        if read(answer, Aborted).aborted:
            return answer
    return await session.conversation.request("chat.abort", {"sessionKey": last, "runId": run_id})


async def _sessions_of(session: Session, run_id: str) -> tuple[str, ...]:
    """Return the keys of the sessions that a run may be in: at least one."""
    if METHOD in session.methods:
        runs = read(await session.conversation.request(METHOD, {}), Runs).runs
        return tuple(run.session_key for run in runs if run.run_id == run_id) or (_MAIN,)
    listed = await session.conversation.request("sessions.list", {"limit": MAX_SESSIONS})
    return tuple(each.key for each in read(listed, Sessions).sessions if each.has_active_run) or (_MAIN,)
