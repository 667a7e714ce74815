"""`openclaw-gateway token show`: the secret that this machine's gateway asks for."""

from __future__ import annotations

from pathlib import Path

import click

from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.surroundings import Surroundings

__all__ = ["token"]

EXAMPLE = """\b
For example:
  curl -H "Authorization: Bearer $(openclaw-gateway token show)" \\
      http://127.0.0.1:18789/v1/models
"""


@click.group(short_help="The secret that this machine's gateway asks for.")
def token() -> None:
    """Show the secret that this machine's gateway asks for."""


@token.command(short_help="Print it, and nothing else, on standard output.", epilog=EXAMPLE)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file.")
def show(config: Path | None) -> None:
    """Print the token, or the password, that the gateway asks for with this configuration and environment.

    If there is none yet, the one is made that the gateway would make at its first start.
    """
    from openclaw_twisted.auth.token_file import token_path
    from openclaw_twisted.cli.target import own_credential

    surroundings = Surroundings.of_this_process()
    auth = surroundings.load(config).settings.gateway.auth
    path = token_path(surroundings.state_dir)
    there = path.exists()
    credential = own_credential(auth, surroundings.state_dir, create=True)
    secret = credential and (credential.token or credential.password)
    if credential is None or secret is None:
        raise CommandError(f'gateway.auth.mode is "{auth.resolved_mode}": there is no secret to show.')
    if credential.source == str(path) and not there:
        click.echo(f"There was no token yet. Made one: {path}", err=True)
    click.echo(secret.reveal())
