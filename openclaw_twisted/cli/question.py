"""A question to an agent over the WebSocket: asked, accepted, answered, or called off."""

from __future__ import annotations

import math
import uuid
from contextlib import suppress
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError

from openclaw_twisted.cli.answers import read
from openclaw_twisted.cli.client import Session, connected, within
from openclaw_twisted.cli.conversation import ClosedError, RefusedError
from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.target import Target

__all__ = ["Question", "Reply", "ask", "read_reply"]

ABORT_TIMEOUT_SECONDS = 2.0
SCOPES = ("operator.write",)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A message, whom it is for, and how long the reply may take; None leaves that to the gateway."""

    message: str
    agent_id: str | None = None
    session_key: str | None = None
    timeout_seconds: float | None = None


class _Accepted(msgspec.Struct, frozen=True, rename="camel"):
    session_key: str | None = None


class _Piece(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    media_url: str | None = None
    media_urls: tuple[str, ...] | None = None


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    stop_reason: str | None = None


class _Result(msgspec.Struct, frozen=True):
    payloads: tuple[_Piece, ...] = ()
    meta: _Meta = _Meta()


class Reply(msgspec.Struct, frozen=True):
    """What is read of a final payload: how the run ended, and the pieces of the answer."""

    status: str = "ok"
    summary: str | None = None
    result: _Result | None = None

    @property
    def called_off(self) -> bool:
        """Whether somebody stopped the run; gateways give that the status of a run whose time was over."""
        return self.result is not None and self.result.meta.stop_reason == "rpc"

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


async def ask(reactor: Any, target: Target, question: Question) -> bytes:
    """Ask, and return the payload of the final response as the gateway wrote it.

    Cancelling, or the end of the question's time, stops the run too, as far as the gateway can still be
    told. Raises `RefusedError` when the run failed, `TimedOutError`, and what `connected` raises.
    """
    async with connected(reactor, target, scopes=SCOPES) as session:
        run_id = str(uuid.uuid4())
        params = _params(question, run_id, session.default_agent_id)
        accepted: list[bytes] = []
        answer = session.conversation.request("agent", params, accepted=accepted.append)
        if question.timeout_seconds is not None:
            late = f"There was no reply within {question.timeout_seconds:g} s. The run was told to stop."
            within(answer, question.timeout_seconds, reactor, late)
        try:
            return await answer
        except (CancelledError, TimedOutError):
            await _abort(reactor, session, run_id, _session_key(accepted, question))
            raise
        except ClosedError as error:
            raise CommandError(f"{error.message} The run may still be going on there.") from None


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
