"""What --json prints: exactly one document, also when something went wrong. And --stream: one a line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from openclaw_twisted.cli.ending import TimedOutError
from openclaw_twisted.errors import GatewayError

__all__ = ["documented", "error_document", "event_line", "result_line"]


@contextmanager
def documented(*, as_json: bool, stream: bool = False) -> Iterator[None]:
    """Print the document of an error that comes through here, if one is wanted; the error goes on."""
    try:
        yield
    except GatewayError as error:
        if stream:
            click.echo(result_line(error_document(error)))
        elif as_json:
            click.echo(error_document(error))
        raise


def event_line(name: str, payload: bytes) -> bytes:
    """Return the line of an event, without its end."""
    return _line(payload, type="event", event=name)


def result_line(payload: bytes) -> bytes:
    """Return the last line of a run, which tells how it ended."""
    return _line(payload, type="result")


def _line(payload: bytes, **kind: str) -> bytes:
    import msgspec

    compact = msgspec.json.format(payload, indent=-1)
    return msgspec.json.encode({**kind, "payload": msgspec.Raw(compact)})


def error_document(error: GatewayError) -> bytes:
    """Return what is printed in place of an answer: the gateway's own words if there are any."""
    import msgspec

    from openclaw_twisted.cli.conversation import RefusedError, status_of

    if isinstance(error, RefusedError) and status_of(error.payload) is not None:
        return error.payload
    status = "timeout" if isinstance(error, TimedOutError) else "error"
    return msgspec.json.encode({"status": status, "summary": error.message})
