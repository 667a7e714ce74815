"""A conversation with an agent: what the user says in, replies out as they come, until the user leaves.

    > What is new?          each line, or what is pasted at once, is a turn
    Not much.               its text as it comes
    > /stop  /new  /exit    are for us; everything else is for the agent

A turn is a run like that of the command `agent`; what it says on the way is told by `chat` events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import click
from twisted.internet.defer import CancelledError, Deferred

from openclaw_twisted.cli.client import Session
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.lines import Lines
from openclaw_twisted.cli.question import Question, ask_in, check, read_reply
from openclaw_twisted.cli.terminal import printable
from openclaw_twisted.cli.voices import Voice

__all__ = ["Chosen", "Dialogue"]

PROMPT = "> "
HELP = (
    "/new or /reset   start afresh in this session\n/stop or Ctrl-C  stop the run\n/exit or Ctrl-D  leave\n"
)

_MAIN = "main"
_STOP = "/stop"
_KEY_PREFIX = "agent:"


class Chosen(NamedTuple):
    """Whom to talk to, in which session, and how long each reply may take."""

    agent_id: str | None = None
    session_key: str | None = None
    timeout_seconds: float | None = None

    def key_in(self, session: Session) -> str:
        """Return the key of the session, as whole as it is known here."""
        key = self.session_key or _MAIN
        agent_id = self.agent_id or session.default_agent_id
        return key if agent_id is None or key.startswith(_KEY_PREFIX) else f"{_KEY_PREFIX}{agent_id}:{key}"


class Dialogue:
    """One stay in a session."""

    def __init__(self, reactor: Any, session: Session, lines: Lines, chosen: Chosen, voice: Voice) -> None:
        self.key = chosen.key_in(session)
        self._reactor = reactor
        self._session = session
        self._lines = lines
        self._voice = voice
        self._chosen = chosen
        self._running: Deferred[bytes] | None = None
        self._stopped = False
        lines.urgent = self._urgent
        lines.unread = self._stop
        session.conversation.over.addCallback(lines.fail)

    async def run(self) -> None:
        """Talk until the user leaves; raises `CommandError`, on a terminal only when the gateway is gone."""
        commands: dict[str, Callable[[], Awaitable[None]]] = {
            "/new": self._start_afresh,
            "/reset": self._start_afresh,
            "/help": self._help,
            _STOP: self._nothing_runs,
        }
        while (said := await self._next()) is not None:
            word = said.strip()
            if word in {"/exit", "/quit"}:
                return
            try:
                if word in commands:
                    await commands[word]()
                elif word:
                    await self._turn(said)
            except CommandError as error:
                if not self._lines.interactive or self._session.conversation.over.called:
                    raise
                self._note(error.message)

    def interrupt(self) -> bool:
        """Stop the run and return True; False when nothing runs. For a signal handler."""
        if self._running is None or self._stopped or not self._lines.interactive:
            return False
        self._reactor.callFromThread(self._stop)
        return True

    async def _next(self) -> str | None:
        if self._lines.interactive:
            self._lines.write(PROMPT)
        return await self._lines.next()

    def _urgent(self, line: str) -> bool:
        if line.strip() != _STOP or self._running is None:
            return False
        self._stop()
        return True

    def _stop(self) -> None:
        if self._running is not None and not self._stopped:
            self._stopped = True
            self._running.cancel()

    async def _turn(self, message: str) -> None:
        question = Question(
            message=message,
            agent_id=self._chosen.agent_id,
            session_key=self.key,
            timeout_seconds=self._chosen.timeout_seconds,
        )
        voice = self._voice
        voice.begin(message)
        self._stopped = False
        self._running = Deferred.fromCoroutine(ask_in(self._reactor, self._session, question, voice.heard))
        try:
            payload = await self._running
            reply = read_reply(payload)
            voice.ended(payload, reply)
            check(reply)
        except CancelledError:
            voice.stopped()
            if not self._stopped:
                raise
            self._note("Stopped.")
        except CommandError as error:
            voice.failed(error)
            raise
        finally:
            self._running = None

    async def _start_afresh(self) -> None:
        params = {"key": self.key, "reason": "new"}
        await self._session.conversation.request("sessions.reset", params)
        self._note("The session starts afresh.")

    async def _help(self) -> None:
        self._note(HELP.rstrip())

    async def _nothing_runs(self) -> None:
        self._note("Nothing runs.")

    def _note(self, text: str) -> None:
        """Tell the user what is no reply: on a terminal in its place between the replies."""
        if self._lines.interactive:
            self._lines.write(f"{printable(text)}\n")
        else:
            click.echo(printable(text), err=True)
