"""`openclaw-gateway models list`, `agents list`: who there is to ask."""

from __future__ import annotations

import click

from openclaw_twisted.cli.access import EXIT_CODES, Access, asks_gateway
from openclaw_twisted.cli.document import documented

__all__ = ["agents", "models"]


@click.group(short_help="The models that a gateway offers.")
def models() -> None:
    """Look at the models that a running gateway offers."""


@models.command("list", short_help="List them.", epilog=EXIT_CODES)
@click.option("--agent", "agent_id", metavar="ID", help="Whose models, instead of the default agent's.")
@asks_gateway()
def list_models(access: Access, agent_id: str | None) -> None:
    """List the models, with the size of their context and whether they can be asked now."""
    from openclaw_twisted.cli.answers import Models, read
    from openclaw_twisted.cli.calls import READ, call
    from openclaw_twisted.cli.table import table

    with documented(as_json=access.as_json):
        payload = call(access, READ, "models.list", agentId=agent_id)
        found = read(payload, Models).models
    if access.as_json:
        click.echo(payload)
        return
    if not found:
        click.echo("The gateway has no models.", err=True)
        return
    ready = {True: "yes", False: "no", None: "?"}
    table(
        ("MODEL", "NAME", "CONTEXT", "REASONING", "AVAILABLE"),
        [
            (
                each.full_name,
                each.name,
                f"{each.context_window:.0f}" if each.context_window else "?",
                ready[each.reasoning],
                ready[each.available],
            )
            for each in found
        ],
    )


@click.group(short_help="The agents of a gateway.")
def agents() -> None:
    """Look at the agents of a running gateway."""


@agents.command("list", short_help="List them.", epilog=EXIT_CODES)
@asks_gateway()
def list_agents(access: Access) -> None:
    """List the agents and the models that they ask, the first one first."""
    from openclaw_twisted.cli.answers import Agents, read
    from openclaw_twisted.cli.calls import READ, call
    from openclaw_twisted.cli.table import table

    with documented(as_json=access.as_json):
        payload = call(access, READ, "agents.list")
        found = read(payload, Agents)
    if access.as_json:
        click.echo(payload)
        return
    table(
        ("AGENT", "NAME", "DEFAULT", "MODELS"),
        [
            (each.id, each.name or "", "yes" if each.id == found.default_id else "", ", ".join(each.models))
            for each in found.agents
        ],
    )
