"""What --json prints: exactly one document, also when something went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from openclaw_twisted.cli.ending import TimedOutError
from openclaw_twisted.errors import GatewayError

__all__ = ["documented", "error_document"]


@contextmanager
def documented(*, as_json: bool) -> Iterator[None]:
    """Print the document of an error that comes through here, if one is wanted; the error goes on."""
    try:
        yield
    except GatewayError as error:
        if as_json:
            click.echo(error_document(error))
        raise


def error_document(error: GatewayError) -> bytes:
    """Return what is printed in place of an answer: the gateway's own words if there are any."""
    import msgspec

    from openclaw_twisted.cli.conversation import RefusedError, status_of

    if isinstance(error, RefusedError) and status_of(error.payload) is not None:
        return error.payload
    status = "timeout" if isinstance(error, TimedOutError) else "error"
    return msgspec.json.encode({"status": status, "summary": error.message})
