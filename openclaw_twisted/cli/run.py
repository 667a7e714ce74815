"""`openclaw-gateway run`: the gateway in the foreground, as `twistd -n openclaw-gateway` runs it.

It runs in this very process: whoever started it (a shell, systemd, a container) has the gateway's own process
id, so that signals reach the gateway itself and its exit code comes back unchanged; and it works where the
`twistd` script is not on the PATH. The only difference to twistd is that no `twistd.pid` is written.
"""

from __future__ import annotations

import click

__all__ = ["run"]

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
    from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]  # public, says twistd

    if "--help" in arguments:
        click.echo(_help())
        return
    options = ServerOptions()
    try:
        options.parseOptions([*_TWISTD, *arguments])
    except UsageError as error:
        raise click.UsageError(f"{error}\nSee: openclaw-gateway run --help") from None
    runApp(options)


def _help() -> str:
    from openclaw_twisted.tap import Options

    described = Options().getUsage()
    return f"Usage: openclaw-gateway run [OPTIONS]\n\n  {run.help}\n\n{described.rstrip()}"
