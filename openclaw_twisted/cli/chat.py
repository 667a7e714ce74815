"""`openclaw-gateway chat`: a conversation with an agent in the terminal, or in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from openclaw_twisted.cli.access import EXIT_CODES, Access, asks_gateway
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.errors import GatewayError

if TYPE_CHECKING:
    from openclaw_twisted.cli.dialogue import Chosen, Dialogue
    from openclaw_twisted.cli.lines import Lines
    from openclaw_twisted.cli.voices import Kept, Voice

__all__ = ["chat"]


@click.command(short_help="Talk with an agent.", epilog=EXIT_CODES)
@click.option("--agent", "agent_id", metavar="ID", help="Whom to talk to, instead of the default agent.")
@click.option(
    "--session-key", metavar="KEY", help="Which conversation to go on with, instead of the main one."
)
@click.option("--stream", is_flag=True, help="Print the runs' events as they come, a JSON document each.")
@asks_gateway(
    timeout_help="How long each reply may take; without it, the gateway's own limit holds.",
    timeout_seconds=None,
    json_help="Print one JSON document at the end: what was said.",
)
def chat(access: Access, agent_id: str | None, session_key: str | None, *, stream: bool) -> None:
    """Talk with an agent of a running gateway: each line is a message, its reply is printed as it comes.

    /new starts afresh, /stop and Ctrl-C stop the run, /exit and Ctrl-D leave. What is pasted at once is one
    message. Without a terminal each line of standard input is a message, and the first error ends it.
    """
    from openclaw_twisted.cli.dialogue import Chosen
    from openclaw_twisted.cli.foreground import in_foreground
    from openclaw_twisted.cli.voices import Kept

    kept = Kept() if access.as_json and not stream else None
    stay = _Stay(access, Chosen(agent_id, session_key, access.timeout_seconds), kept, stream=stream)
    ending: GatewayError | None = None
    try:
        in_foreground(stay.talk, interrupted=stay.interrupt)
    except GatewayError as error:
        ending = error
        raise
    except SystemExit:
        ending = CommandError("A signal ended it.")
        raise
    finally:
        if kept is not None:
            click.echo(kept.document(ending))


class _Stay:
    """The dialogue, once there is one."""

    def __init__(self, access: Access, chosen: Chosen, kept: Kept | None, *, stream: bool) -> None:
        self._access = access
        self._chosen = chosen
        self._kept = kept
        self._stream = stream
        self._dialogue: Dialogue | None = None

    def interrupt(self) -> bool:
        return self._dialogue is not None and self._dialogue.interrupt()

    async def talk(self, reactor: Any) -> None:
        from openclaw_twisted.cli.calls import ADMIN, WRITE
        from openclaw_twisted.cli.client import connected
        from openclaw_twisted.cli.dialogue import Dialogue
        from openclaw_twisted.cli.lines import open_lines
        from openclaw_twisted.cli.question import TOOL_EVENTS
        from openclaw_twisted.cli.target import find_target

        target = find_target(self._access.flags, Surroundings.of_this_process())
        scopes, caps = WRITE + ADMIN, (TOOL_EVENTS,) if self._stream else ()
        async with connected(reactor, target, scopes=scopes, caps=caps) as session:
            lines = open_lines(reactor)
            try:
                dialogue = Dialogue(reactor, session, lines, self._chosen, self._voice(lines))
                if self._kept is not None:
                    self._kept.session_key = dialogue.key
                if lines.interactive:
                    lines.write(f"{dialogue.key} at {target.url}; /help tells more.\n")
                self._dialogue = dialogue
                await dialogue.run()
            finally:
                self._dialogue = None
                await lines.close()

    def _voice(self, lines: Lines) -> Voice:
        from openclaw_twisted.cli.terminal import printable
        from openclaw_twisted.cli.voices import Spoken, Streamed

        if self._stream:
            return Streamed(lines.write)
        if self._kept is not None:
            return self._kept
        return Spoken((lambda text: lines.write(printable(text))) if lines.interactive else lines.write)
