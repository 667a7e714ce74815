"""The `openclaw-gateway` command; what a command needs is imported when it runs, so that --help is quick."""

from __future__ import annotations

from typing import Any

import click

from openclaw_twisted import __version__
from openclaw_twisted.cli.agent import agent
from openclaw_twisted.cli.chat import chat
from openclaw_twisted.cli.check_config import check_config
from openclaw_twisted.cli.ending import ending
from openclaw_twisted.cli.init import init
from openclaw_twisted.cli.listings import agents, models
from openclaw_twisted.cli.local import local
from openclaw_twisted.cli.openapi import openapi
from openclaw_twisted.cli.run import run
from openclaw_twisted.cli.runs import runs
from openclaw_twisted.cli.sessions import sessions
from openclaw_twisted.cli.show_token import token
from openclaw_twisted.cli.status import health, status
from openclaw_twisted.cli.terminal import open_streams

__all__ = ["main"]


class _Gateway(click.Group):
    """The commands in the order in which a user meets them; `ending` says how each of them ends."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which the commands were added."""
        return list(self.commands)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read what stands before the command's name."""
        open_streams()
        with ending():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with ending():
            return super().invoke(ctx)


@click.group(cls=_Gateway)
@click.version_option(__version__, message="openclaw-gateway %(version)s")
def main() -> None:
    """Run the gateway, talk to it, and look after its files."""


for command in (
    init,
    run,
    check_config,
    agent,
    chat,
    status,
    health,
    sessions,
    runs,
    models,
    agents,
    token,
    local,
    openapi,
):
    main.add_command(command)
