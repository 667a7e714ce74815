"""What every door hands in: one run, wherever it was asked for."""

from __future__ import annotations

import msgspec

from openclaw_twisted.boundaries import Claim, Sampling
from openclaw_twisted.content import Message, ToolSpec
from openclaw_twisted.ordered_id import new_id
from openclaw_twisted.session_key import SessionKey

__all__ = ["RunRequest", "new_run_id"]


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One agent run: who answers, in which session, to what.

    `models` names the models to try in order, each as `provider/model`. `messages` are the client's
    conversation; the first `carried` of them were said in another session. What comes as `instructions` is
    placed after the agent's own system prompt and never stored. `appends` says that the session holds none of
    the messages yet, `resends` that they are all that the model is to know, whatever the session holds,
    `model_chosen` that the caller chose the model, so that the session's own does not count. `sampling` is
    what the caller asked for; the settings complete it. `claim` is the request's idempotency key.
    `timeout_seconds` bounds the run, 0 is no bound.
    """

    run_id: str
    agent_id: str
    session_key: SessionKey
    models: tuple[str, ...]
    messages: tuple[Message, ...]
    carried: int = 0
    appends: bool = False
    resends: bool = False
    instructions: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | tuple[str, str] | None = None
    sampling: Sampling = Sampling()
    model_chosen: bool = False
    claim: Claim | None = None
    timeout_seconds: float = 0.0


def new_run_id() -> str:
    """Return a fresh run id, a UUID as text."""
    return new_id()
