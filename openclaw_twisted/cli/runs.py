"""`openclaw-gateway runs`: what an agent is doing right now, and stopping it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from openclaw_twisted.cli.access import EXIT_CODES, Access, asks_gateway
from openclaw_twisted.cli.document import documented
from openclaw_twisted.cli.ending import CommandError

if TYPE_CHECKING:
    from openclaw_twisted.cli.answers import ListedRun
    from openclaw_twisted.cli.client import Session

__all__ = ["runs"]

MAX_LISTED = 1000


@click.group(short_help="The runs of a gateway.")
def runs() -> None:
    """Look at the runs of a running gateway, and stop them."""


@runs.command("list", short_help="List what runs and what waits.", epilog=EXIT_CODES)
@click.option(
    "--limit", type=click.IntRange(1, MAX_LISTED), metavar="N", help="List the N latest that ended, too."
)
@click.option("--session-key", metavar="KEY", help="Only those of this session.")
@asks_gateway()
def list_runs(access: Access, limit: int | None, session_key: str | None) -> None:
    """List the runs that are under way, the latest first, whichever door they came through.

    OpenClaw's own gateway cannot tell: the method behind this is one of this gateway.
    """
    from openclaw_twisted.cli.answers import Runs, read
    from openclaw_twisted.cli.calls import READ, converse
    from openclaw_twisted.cli.stopping import listed_runs
    from openclaw_twisted.cli.table import table

    params = {"limit": limit, "sessionKey": session_key}
    given = {name: value for name, value in params.items() if value is not None}

    async def ask(session: Session) -> bytes:
        return await listed_runs(session, given)

    with documented(as_json=access.as_json):
        payload = converse(access, READ, ask)
        found = read(payload, Runs)
    if access.as_json:
        click.echo(payload)
    elif found.runs:
        table(
            ("RUN", "SESSION", "STATUS", "STARTED", "MODEL"),
            [
                (each.run_id, each.session_key, each.status, _started(each, found.ts), each.model)
                for each in found.runs
            ],
        )
    else:
        click.echo("Nothing runs.", err=True)


def _started(run: ListedRun, now_ms: float) -> str:
    from openclaw_twisted.cli.table import ago

    return "" if run.started_at is None else ago(now_ms - run.started_at)


@runs.command(short_help="Stop a run.", epilog=EXIT_CODES)
@click.argument("run_id", metavar="RUN")
@asks_gateway()
def abort(access: Access, run_id: str) -> None:
    """Stop a run, whoever started it; `runs list` shows the ids."""
    from openclaw_twisted.cli.answers import Aborted, read
    from openclaw_twisted.cli.calls import ADMIN, WRITE, converse
    from openclaw_twisted.cli.stopping import stop_run

    async def stop(session: Session) -> bytes:
        return await stop_run(session, run_id)

    with documented(as_json=access.as_json):
        # OpenClaw's own gateway lets only administrators stop what others started.
        payload = converse(access, WRITE + ADMIN, stop)
        found = read(payload, Aborted)
    if access.as_json:
        click.echo(payload)
    if not found.aborted:
        raise CommandError("No such run is under way. `openclaw-gateway runs list` shows those that are.")
    if not access.as_json:
        click.echo(f"Stopped {', '.join(found.run_ids) or run_id}.")
