"""`openclaw-gateway openapi`: the HTTP API, for programs that make clients or tests of it."""

from __future__ import annotations

import json

import click

__all__ = ["openapi"]


@click.command(short_help="Print the HTTP API as an OpenAPI document.")
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the HTTP API, as a gateway of this version serves it."""
    from openclaw_twisted.http.openapi import document

    click.echo(json.dumps(document(), indent=2))
