"""`openclaw-gateway agent`: one message to an agent, and its reply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.cli.terminal import say
from openclaw_twisted.errors import GatewayError

if TYPE_CHECKING:
    from openclaw_twisted.cli.question import Question
    from openclaw_twisted.cli.target import Flags

__all__ = ["agent"]

MAX_MESSAGE_BYTES = 25_000_000

_FINISHED = ("ok", "completed")


@click.command(
    short_help="Send a message to an agent and print its reply.",
    epilog="Ends with 0 when there is a reply, 1 on an error, 2 when time ran out, 130 on Ctrl-C.",
)
@click.option(
    "-m", "--message", required=True, metavar="TEXT", help="What to say; - reads it from standard input."
)
@click.option("--agent", "agent_id", metavar="ID", help="Which agent to ask, instead of the default one.")
@click.option("--session-key", metavar="KEY", help="Which conversation to go on with.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop the run if there is no reply by then; without it, the gateway's own limit holds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's final answer, one JSON document.")
@click.option("--url", metavar="URL", help="The gateway: ws://HOST:PORT or wss://HOST.")
@click.option("--token", metavar="TOKEN", help="Its token; OPENCLAW_GATEWAY_TOKEN keeps it out of `ps`.")
@click.option("--password", metavar="PASSWORD", help="Its password, if it asks for one instead.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file.")
def agent(  # noqa: PLR0913 - one parameter for each flag
    *,
    message: str,
    agent_id: str | None,
    session_key: str | None,
    timeout: float | None,
    as_json: bool,
    url: str | None,
    token: str | None,
    password: str | None,
    config: Path | None,
) -> None:
    """Send a message to an agent of a running gateway, wait, and print the reply.

    The gateway and its secret are those of the flags, else of the variables OPENCLAW_GATEWAY_URL,
    OPENCLAW_GATEWAY_TOKEN and OPENCLAW_GATEWAY_PASSWORD, else of the configuration, else this machine's own.
    Ctrl-C stops the run.
    """
    from openclaw_twisted.cli.question import Question
    from openclaw_twisted.cli.target import Flags

    text = _from_stdin() if message == "-" else message
    if not text:
        raise CommandError("The message is empty. Say something with --message.")
    question = Question(message=text, agent_id=agent_id, session_key=session_key, timeout_seconds=timeout)
    try:
        payload = _answer(Flags(url, token, password, config), question)
    except GatewayError as error:
        if as_json:
            click.echo(_document(error))
        raise
    if as_json:
        click.echo(payload)
    _conclude(payload, as_json=as_json)


def _from_stdin() -> str:
    """Read the message; the line feed that `echo` adds is no part of it."""
    data = sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1)
    if len(data) > MAX_MESSAGE_BYTES:
        raise CommandError(f"The message is longer than {MAX_MESSAGE_BYTES} bytes. Send it in parts.")
    try:
        return data.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise CommandError(f"The message on standard input is not UTF-8 (byte {error.start}).") from None


def _answer(flags: Flags, question: Question) -> bytes:
    from openclaw_twisted.cli.foreground import in_foreground
    from openclaw_twisted.cli.question import ask
    from openclaw_twisted.cli.target import find_target

    target = find_target(flags, Surroundings.of_this_process())
    return in_foreground(lambda reactor: ask(reactor, target, question))


def _document(error: GatewayError) -> bytes:
    """Return what --json prints in place of a final answer: the gateway's own words if there are any."""
    import msgspec

    from openclaw_twisted.cli.conversation import RefusedError, status_of

    if isinstance(error, RefusedError) and status_of(error.payload) is not None:
        return error.payload
    status = "timeout" if isinstance(error, TimedOutError) else "error"
    return msgspec.json.encode({"status": status, "summary": error.message})


def _conclude(payload: bytes, *, as_json: bool) -> None:
    """Print the reply, unless it has been; raises `CommandError` for a run that did not end well."""
    from openclaw_twisted.cli.question import read_reply

    reply = read_reply(payload)
    words = reply.text or reply.summary or "no reason given"
    if reply.called_off:
        raise CommandError(f"Somebody stopped the run: {words}")
    if reply.status == "timeout":
        raise TimedOutError(f"The gateway stopped the run because its time was over: {words}")
    if reply.status not in _FINISHED:
        raise CommandError(f'The run ended with status "{reply.status}": {words}')
    if not as_json and reply.text:
        say(reply.text)
    elif not as_json:
        click.echo("The agent said nothing.", err=True)
