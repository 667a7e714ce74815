"""A question to an agent over the WebSocket: asked, accepted, answered, or called off."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from openclaw_twisted.cli.answers import read
from openclaw_twisted.cli.client import Session, connected, within
from openclaw_twisted.cli.conversation import ClosedError, RefusedError
from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.target import Target

__all__ = ["Heard", "Question", "Reply", "ask", "ask_in", "check", "read_reply"]

ABORT_TIMEOUT_SECONDS = 2.0
SCOPES = ("operator.write",)
TOOL_EVENTS = "tool-events"

_FINISHED = ("ok", "completed")
_CALLED_OFF = "rpc"

Heard = Callable[[str, bytes], None]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A message, whom it is for, and how long the reply may take; None leaves that to the gateway."""

    message: str
    agent_id: str | None = None
    session_key: str | None = None
    timeout_seconds: float | None = None


class _Accepted(msgspec.Struct, frozen=True, rename="camel"):
    session_key: str | None = None


class _OfRun(msgspec.Struct, frozen=True, rename="camel"):
    run_id: str | None = None


class _Piece(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    media_url: str | None = None
    media_urls: tuple[str, ...] | None = None


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    stop_reason: str | None = None


class _Result(msgspec.Struct, frozen=True):
    payloads: tuple[_Piece, ...] = ()
    meta: _Meta = _Meta()


class Reply(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of a final payload: how the run ended, and the pieces of the answer."""

    status: str = "ok"
    summary: str | None = None
    result: _Result | None = None
    stop_reason: str | None = None

    @property
    def called_off(self) -> bool:
        """Whether somebody stopped the run; gateways give that the status of a run whose time was over."""
        return _CALLED_OFF in {self.stop_reason, self.result and self.result.meta.stop_reason}

    @property
    def succeeded(self) -> bool:
        """Whether the run ended with its answer."""
        return self.status in _FINISHED and not self.called_off

    @property
    def text(self) -> str:
        """The answer as text, with a line for each thing that is no text."""
        lines: list[str] = []
        for piece in self.result.payloads if self.result else ():
            urls = piece.media_urls or ((piece.media_url,) if piece.media_url else ())
            lines += [piece.text] if piece.text else []
            lines += [f"MEDIA: {url}" for url in urls]
        return "\n".join(lines)


def read_reply(payload: bytes) -> Reply:
    """Read a final payload; raises `CommandError` if it is none."""
    return read(payload, Reply)


def check(reply: Reply) -> None:
    """Raise `CommandError` for a run that did not end well, `TimedOutError` for one whose time was over."""
    words = reply.text or reply.summary or "no reason given"
    if reply.called_off:
        raise CommandError(f"Somebody stopped the run: {words}")
    if reply.status == "timeout":
        raise TimedOutError(f"The gateway stopped the run because its time was over: {words}")
    if not reply.succeeded:
        raise CommandError(f'The run ended with status "{reply.status}": {words}')


async def ask(reactor: Any, target: Target, question: Question, heard: Heard | None = None) -> bytes:
    """Connect and ask; see `ask_in`. Raises what `connected` raises, too."""
    caps = (TOOL_EVENTS,) if heard is not None else ()
    async with connected(reactor, target, scopes=SCOPES, caps=caps) as session:
        return await ask_in(reactor, session, question, heard)


async def ask_in(reactor: Any, session: Session, question: Question, heard: Heard | None = None) -> bytes:
    """Ask, and return the payload of the final response as the gateway wrote it.

    `heard` hears the name and the payload of each of the run's events. When it raises `OSError` nobody is
    interested any more. That, cancelling, or the end of the question's time stops the run too, as far as the
    gateway can still be told. Raises `RefusedError` when the run failed, `TimedOutError`, `CommandError`.
    """
    run_id = str(uuid.uuid4())
    params = _params(question, run_id, session.default_agent_id)
    accepted: list[bytes] = []
    answer = session.conversation.request("agent", params, accepted=accepted.append)
    if question.timeout_seconds is not None:
        late = f"There was no reply within {question.timeout_seconds:g} s. The run was told to stop."
        within(answer, question.timeout_seconds, reactor, late)
    audience = _Audience(run_id, heard, answer)
    leave = session.conversation.listen(audience.event)
    try:
        return await answer
    except (CancelledError, TimedOutError):
        await _abort(reactor, session, run_id, _session_key(accepted, question))
        if audience.gone:
            raise CommandError("The output cannot be written any more. The run was told to stop.") from None
        raise
    except ClosedError as error:
        raise CommandError(f"{error.message} The run may still be going on there.") from None
    finally:
        leave()


class _Audience:
    """Whoever hears one run's events; when nobody is left to hear them, the answer is not waited for."""

    def __init__(self, run_id: str, heard: Heard | None, answer: Deferred[bytes]) -> None:
        self._run_id = run_id
        self._heard = heard
        self._answer = answer
        self.gone = False

    def event(self, name: str, payload: bytes) -> None:
        if self._heard is None or self.gone or _run_of(payload) != self._run_id:
            return
        try:
            self._heard(name, payload)
        except OSError:
            self.gone = True
            self._answer.cancel()


def _run_of(payload: bytes) -> str | None:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(payload, type=_OfRun).run_id
    return None


def _params(question: Question, run_id: str, default_agent_id: str | None) -> dict[str, object]:
    named = question.agent_id or question.session_key
    seconds = question.timeout_seconds
    params = {
        "message": question.message,
        "agentId": question.agent_id if named else default_agent_id,
        "sessionKey": question.session_key,
        "deliver": False,
        "timeout": None if seconds is None else math.ceil(seconds),
        "idempotencyKey": run_id,
    }
    return {name: value for name, value in params.items() if value is not None}


def _session_key(accepted: list[bytes], question: Question) -> str | None:
    """Return the key of the run's session, as the gateway completed it if it has accepted the run."""
    if accepted:
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(accepted[0], type=_Accepted).session_key or question.session_key
    return question.session_key


async def _abort(reactor: Any, session: Session, run_id: str, session_key: str | None) -> None:
    """Tell the gateway to stop the run; it is not held against it if that fails."""
    if session_key is None:
        return
    params = {"sessionKey": session_key, "runId": run_id}
    aborting = session.conversation.request("chat.abort", params)
    with suppress(RefusedError, ClosedError, TimedOutError):
        await within(aborting, ABORT_TIMEOUT_SECONDS, reactor, "The gateway did not confirm the stop.")
