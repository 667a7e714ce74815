"""`openclaw-gateway agent`: one message to an agent, and its reply."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from openclaw_twisted.cli.access import Access, asks_gateway
from openclaw_twisted.cli.document import documented, event_line, result_line
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.cli.terminal import say

if TYPE_CHECKING:
    from openclaw_twisted.cli.question import Heard, Question

__all__ = ["agent"]

MAX_MESSAGE_BYTES = 25_000_000


@click.command(
    short_help="Send a message to an agent and print its reply.",
    epilog="Ends with 0 when there is a reply, 1 on an error, 2 when time ran out, 130 on Ctrl-C.",
)
@click.option(
    "-m", "--message", required=True, metavar="TEXT", help="What to say; - reads it from standard input."
)
@click.option("--agent", "agent_id", metavar="ID", help="Which agent to ask, instead of the default one.")
@click.option("--session-key", metavar="KEY", help="Which conversation to go on with.")
@click.option("--stream", is_flag=True, help="Print the run's events as they come, a JSON document each.")
@asks_gateway(
    timeout_help="Stop the run if there is no reply by then; without it, the gateway's own limit holds.",
    timeout_seconds=None,
    json_help="Print the gateway's final answer, one JSON document.",
)
def agent(
    access: Access, message: str, agent_id: str | None, session_key: str | None, *, stream: bool
) -> None:
    """Send a message to an agent of a running gateway, wait, and print the reply.

    The gateway and its secret are those of the flags, else of the variables OPENCLAW_GATEWAY_URL,
    OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_PASSWORD, else of the configuration, else this machine's own.
    Ctrl-C stops the run.
    """
    from openclaw_twisted.cli.question import Question

    text = _from_stdin() if message == "-" else message
    if not text:
        raise CommandError("The message is empty. Say something with --message.")
    question = Question(
        message=text, agent_id=agent_id, session_key=session_key, timeout_seconds=access.timeout_seconds
    )
    with documented(as_json=access.as_json or stream, stream=stream):
        payload = _answer(access, question, _print_event if stream else None)
    if stream:
        click.echo(result_line(payload))
    elif access.as_json:
        click.echo(payload)
    _conclude(payload, quiet=access.as_json or stream)


def _from_stdin() -> str:
    """Read the message; the line feed that `echo` adds is no part of it."""
    data = sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1)
    if len(data) > MAX_MESSAGE_BYTES:
        raise CommandError(f"The message is longer than {MAX_MESSAGE_BYTES} bytes. Send it in parts.")
    try:
        return data.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise CommandError(f"The message on standard input is not UTF-8 (byte {error.start}).") from None


def _answer(access: Access, question: Question, heard: Heard | None) -> bytes:
    from openclaw_twisted.cli.foreground import in_foreground
    from openclaw_twisted.cli.question import ask
    from openclaw_twisted.cli.target import find_target

    target = find_target(access.flags, Surroundings.of_this_process())
    return in_foreground(lambda reactor: ask(reactor, target, question, heard))


def _print_event(name: str, payload: bytes) -> None:
    click.echo(event_line(name, payload))


def _conclude(payload: bytes, *, quiet: bool) -> None:
    """Print the reply, unless it has been; raises `CommandError` for a run that did not end well."""
    from openclaw_twisted.cli.question import check, read_reply

    reply = read_reply(payload)
    check(reply)
    if not quiet and reply.text:
        say(reply.text)
    elif not quiet:
        click.echo("The agent said nothing.", err=True)
