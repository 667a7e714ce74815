"""`openclaw-gateway status`, `health`: what a gateway does, and whether it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from openclaw_twisted.cli.access import EXIT_CODES, Access, asks_gateway
from openclaw_twisted.cli.document import documented
from openclaw_twisted.cli.ending import CommandError

if TYPE_CHECKING:
    from openclaw_twisted.cli.answers import Status

__all__ = ["health", "status"]


@click.command(short_help="Show what a gateway does.", epilog=EXIT_CODES)
@asks_gateway()
def status(access: Access) -> None:
    """Show a running gateway's version, its runs, its sessions and its default model."""
    from openclaw_twisted.cli.answers import Status, read
    from openclaw_twisted.cli.calls import ADMIN, READ, call
    from openclaw_twisted.cli.table import ago, facts, table

    with documented(as_json=access.as_json):
        # OpenClaw's own gateway tells sessions and models to administrators only.
        payload = call(access, READ + ADMIN, "status")
        found = read(payload, Status)
    if access.as_json:
        click.echo(payload)
        return
    sessions = found.sessions
    agents = ", ".join(f"{agent.agent_id} ({agent.count})" for agent in sessions.by_agent)
    context = sessions.defaults.context_tokens
    facts(
        [
            ("version", found.runtime_version or "unknown"),
            ("runs", _runs(found)),
            ("sessions", str(sessions.count)),
            ("by agent", agents),
            ("model", sessions.defaults.model or "none"),
            ("context", f"{context:.0f} tokens" if context else ""),
        ]
    )
    if sessions.recent:
        click.echo()
        table(("RECENT SESSION", "USED"), [(each.key, ago(each.age or 0)) for each in sessions.recent])


def _runs(found: Status) -> str:
    if found.runs is not None:
        return f"{found.runs.running} running, {found.runs.waiting} waiting"
    return f"{found.tasks.active} tasks active" if found.tasks is not None else ""


@click.command(short_help="Ask a gateway whether it is well.", epilog=EXIT_CODES)
@asks_gateway()
def health(access: Access) -> None:
    """Ask a running gateway whether it is well; ends with 1 if it is not there or not well."""
    from openclaw_twisted.cli.answers import Health, read
    from openclaw_twisted.cli.calls import READ, call

    with documented(as_json=access.as_json):
        payload = call(access, READ, "health")
        found = read(payload, Health)
    if access.as_json:
        click.echo(payload)
    if not found.ok:
        raise CommandError("The gateway is not well: it cannot answer requests now. Its log tells why.")
    if not access.as_json:
        agents = ", ".join(agent.agent_id for agent in found.agents)
        channels = ", ".join(found.channels)
        parts = (agents and f"agents: {agents}", channels and f"channels: {channels}")
        click.echo("; ".join(("The gateway is well", *filter(None, parts))) + ".")
