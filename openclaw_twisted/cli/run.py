"""`openclaw-gateway run`: the gateway in the foreground, as `twistd -n openclaw-gateway` runs it.

It runs in this very process: whoever started it (a shell, systemd, a container) has the gateway's own process
id, so that signals reach the gateway itself and its exit code comes back unchanged; and it works where the
`twistd` script is not on the PATH. The only difference to twistd is that no `twistd.pid` is written.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from twisted.application.app import ServerOptions

__all__ = ["run", "twistd_options"]

_TWISTD = ("--nodaemon", "--pidfile=", "openclaw-gateway")


@click.command(
    short_help="Run the gateway in the foreground.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS]",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
def run(arguments: tuple[str, ...]) -> None:
    """Run the gateway until Ctrl-C or SIGTERM, with the options of `twistd -n openclaw-gateway`."""
    from twisted.python.usage import UsageError
    from twisted.scripts.twistd import runApp

    if "--help" in arguments:
        click.echo(_help())
        return
    options = twistd_options()
    try:
        options.parseOptions([*_TWISTD, *arguments])
    except UsageError as error:
        raise click.UsageError(f"{error}\nSee: openclaw-gateway run --help") from None
    runApp(options)


def twistd_options() -> ServerOptions:
    """Return twistd's options with our command alone.

    twistd looks for the plugins of every other program, which took a fifth of the time to start.
    """
    from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]  # the one for this platform

    ours = import_module("twisted.plugins.openclaw_gateway_plugin").openclaw_gateway

    class Options(ServerOptions):
        subCommands = ((ours.tapname, None, lambda: ours.options(), ours.description),)  # noqa: N815, PLW0108 - loaded last

    options = Options()
    options.loadedPlugins = {ours.tapname: ours}
    return options


def _help() -> str:
    from openclaw_twisted.tap import Options

    described = Options().getUsage()
    return f"Usage: openclaw-gateway run [OPTIONS]\n\n  {run.help}\n\n{described.rstrip()}"
