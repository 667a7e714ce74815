"""`openclaw-gateway sessions`: the conversations that a gateway keeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from openclaw_twisted.cli.access import EXIT_CODES, Access, asks_gateway
from openclaw_twisted.cli.document import documented
from openclaw_twisted.cli.ending import CommandError

if TYPE_CHECKING:
    from openclaw_twisted.cli.answers import ListedSession
    from openclaw_twisted.cli.client import Session
    from openclaw_twisted.cli.transcript import Transcript

__all__ = ["sessions"]

MAX_LISTED = 1000
EXPORT_SECONDS = 300.0

_NONE = "`openclaw-gateway sessions list` shows those that there are."


@click.group(short_help="The sessions of a gateway.")
def sessions() -> None:
    """Look at the sessions of a running gateway, export, reset and delete them."""


@sessions.command("list", short_help="List them, the most recently used first.", epilog=EXIT_CODES)
@click.option("--agent", "agent_id", metavar="ID", help="Only those of this agent.")
@click.option("--search", metavar="TEXT", help="Only those with this in key, id, label or title.")
@click.option(
    "--active", type=click.IntRange(min=1), metavar="MINUTES", help="Only those used in the last minutes."
)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LISTED),
    default=50,
    show_default=True,
    metavar="N",
    help="At most this many.",
)
@asks_gateway()
def list_sessions(
    access: Access, agent_id: str | None, search: str | None, active: int | None, limit: int
) -> None:
    """List the sessions, the most recently used first."""
    from openclaw_twisted.cli.answers import Sessions, read
    from openclaw_twisted.cli.calls import READ, call
    from openclaw_twisted.cli.table import table

    with documented(as_json=access.as_json):
        payload = call(
            access,
            READ,
            "sessions.list",
            agentId=agent_id,
            search=search,
            activeMinutes=active,
            limit=limit,
            includeDerivedTitles=True,
        )
        found = read(payload, Sessions)
    if access.as_json:
        click.echo(payload)
        return
    if not found.sessions:
        click.echo("There are no such sessions.", err=True)
        return
    table(
        ("SESSION", "USED", "MODEL", "CONTEXT", "AT WORK", "TITLE"),
        [_row(each, found.ts) for each in found.sessions],
    )
    more = (found.total_count or 0) - len(found.sessions)
    if more > 0:
        click.echo(f"{more} more; --limit shows them.", err=True)


def _row(session: ListedSession, now_ms: float) -> tuple[str, ...]:
    from openclaw_twisted.cli.table import ago, shortened

    return (
        session.key,
        ago(now_ms - session.updated_at) if session.updated_at else "",
        session.full_model,
        session.context,
        "yes" if session.has_active_run else "",
        shortened(session.label or session.derived_title or ""),
    )


@sessions.command(short_help="Show one with its last messages.", epilog=EXIT_CODES)
@click.argument("key")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="How many messages.",
)
@asks_gateway(json_help="Print one JSON document: session and messages, as the gateway tells them.")
def show(access: Access, key: str, limit: int) -> None:
    """Show a session and its last messages.

    KEY is one that `sessions list` shows; without `agent:ID:` in front it is one of the default agent's.
    """
    from openclaw_twisted.cli.transcript import as_json

    transcript = _transcript(access, key, newest=limit)
    if access.as_json:
        click.echo(as_json(transcript))
    else:
        _show(transcript)


def _show(transcript: Transcript) -> None:
    from openclaw_twisted.cli.table import facts, moment
    from openclaw_twisted.cli.terminal import say
    from openclaw_twisted.cli.transcript import message_text

    session = transcript.described
    facts(
        [
            ("session", session.key),
            ("id", session.session_id or ""),
            ("label", session.label or ""),
            ("model", session.full_model),
            ("context", session.context),
            ("tokens", f"{session.input_tokens or 0:.0f} in, {session.output_tokens or 0:.0f} out"),
            ("thinking", session.thinking_level or ""),
            ("last used", moment(session.updated_at) if session.updated_at else ""),
            ("at work", "yes" if session.has_active_run else "no"),
        ]
    )
    for message in transcript.read:
        at = f"  {moment(message.timestamp)}" if message.timestamp else ""
        click.echo()
        click.secho(f"{message.role}{at}", bold=True)
        say(message_text(message))


def _transcript(access: Access, key: str, *, newest: int | None = None) -> Transcript:
    from openclaw_twisted.cli.calls import READ, converse
    from openclaw_twisted.cli.transcript import read_transcript

    async def all_of_it(session: Session) -> Transcript:
        return await read_transcript(session.conversation, key, newest=newest)

    with documented(as_json=access.as_json):
        return converse(access, READ, all_of_it)


@sessions.command(short_help="Write one out with all its messages.", epilog=EXIT_CODES)
@click.argument("key")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="How to write it.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it, instead of standard output; a file that is there is replaced.",
)
@asks_gateway(
    timeout_seconds=EXPORT_SECONDS,
    json_help="Print one JSON document: the export, or with --output what was written where.",
)
def export(access: Access, key: str, kind: Literal["json", "markdown"], output: Path | None) -> None:
    """Write out a session with all its messages, oldest first.

    Images are told, not contained: the gateway does not send them.
    """
    import json

    from openclaw_twisted.cli.transcript import as_json, as_markdown

    if access.as_json and kind != "json" and output is None:
        raise click.UsageError("--json and --format markdown need an --output for the Markdown.")
    transcript = _transcript(access, key)
    data = as_json(transcript) + b"\n" if kind == "json" else as_markdown(transcript).encode()
    if output is None:
        click.echo(data, nl=False)
        return
    with documented(as_json=access.as_json):
        try:
            output.write_bytes(data)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from None
    number = len(transcript.messages)
    if access.as_json:
        click.echo(json.dumps({"path": str(output), "format": kind, "messages": number}))
    else:
        click.echo(f"{number} messages are in {output}.", err=True)


@sessions.command(short_help="Let one start afresh.", epilog=EXIT_CODES)
@click.argument("key")
@asks_gateway()
def reset(access: Access, key: str) -> None:
    """Let a session start afresh: no messages, a new id; what was chosen for it stays. Its run is stopped."""
    from openclaw_twisted.cli.answers import Described, Reset, read
    from openclaw_twisted.cli.calls import ADMIN, converse

    async def start_afresh(session: Session) -> bytes:
        described = await session.conversation.request("sessions.describe", {"key": key})
        found = read(described, Described).session
        if found is None:  # the method itself would create one
            raise CommandError(f'There is no session "{key}". {_NONE}')
        return await session.conversation.request("sessions.reset", {"key": found.key, "reason": "reset"})

    with documented(as_json=access.as_json):
        payload = converse(access, ADMIN, start_afresh)
        found = read(payload, Reset)
    if access.as_json:
        click.echo(payload)
    else:
        click.echo(f"{found.key} starts afresh, as {found.entry.session_id}.")


@sessions.command(short_help="Delete one.", epilog=EXIT_CODES)
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_gateway()
def delete(access: Access, key: str, *, yes: bool) -> None:
    """Delete a session with all its messages; its run is stopped. On a terminal you are asked first."""
    from openclaw_twisted.cli.answers import Deleted, read
    from openclaw_twisted.cli.calls import ADMIN, call

    with documented(as_json=access.as_json):
        if not (yes or _confirmed(access, key)):
            raise CommandError("Nothing was deleted.")
        payload = call(access, ADMIN, "sessions.delete", key=key)
        found = read(payload, Deleted)
    if access.as_json:
        click.echo(payload)
    if not found.deleted:
        raise CommandError(f'There is no session "{key}". {_NONE}')
    if not access.as_json:
        click.echo(f"{found.key} is deleted.")


def _confirmed(access: Access, key: str) -> bool:
    if access.as_json or not sys.stdin.isatty():
        raise CommandError(f'Give --yes to delete "{key}": there is nobody to ask.')
    return click.confirm(f"Delete {key} and everything that was said in it?", err=True)
