"""The payloads of `agent` and `chat` events: one run, told in two ways.

`agent` events tell what an agent does, in streams; `chat` events tell what a conversation looks like, each
with the whole message so far. Where the versions of the protocol differ, version 3 gets no key that it does
not know.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.errors import CancelledRunError, GatewayError
from openclaw_twisted.ws.since import Since4

__all__ = [
    "AgentPayload",
    "Assistant",
    "ChatMessage",
    "ChatPayload",
    "ChatText",
    "Data",
    "ErrorKind",
    "LifecycleEnd",
    "LifecycleError",
    "LifecycleStart",
    "State",
    "Stream",
    "Thinking",
    "ToolStart",
    "stop_reason",
]

Stream = Literal["lifecycle", "assistant", "thinking", "tool"]
State = Literal["delta", "final", "aborted", "error"]
ErrorKind = Literal["refusal", "timeout", "rate_limit", "context_length", "unknown"]


class LifecycleStart(Struct, frozen=True, kw_only=True, rename="camel", tag_field="phase", tag="start"):
    """Stream `lifecycle`: the run's turn has come; the model is told to version 4."""

    started_at: int
    model: Since4[str] = UNSET


class LifecycleEnd(Struct, frozen=True, kw_only=True, rename="camel", tag_field="phase", tag="end"):
    """Stream `lifecycle`: the run ended with its answer, or was stopped (`aborted`)."""

    started_at: int | UnsetType = UNSET
    ended_at: int
    aborted: bool | UnsetType = UNSET
    stop_reason: str


class LifecycleError(Struct, frozen=True, kw_only=True, rename="camel", tag_field="phase", tag="error"):
    """Stream `lifecycle`: the run failed."""

    error: str
    ended_at: int


class Assistant(Struct, frozen=True, kw_only=True):
    """Stream `assistant`: the whole answer so far, and what is new; with `replace`, `delta` is all of it."""

    text: str
    delta: str
    replace: Literal[True] | UnsetType = UNSET


class Thinking(Struct, frozen=True, kw_only=True):
    """Stream `thinking`: what the model says it is thinking, so far, and what is new."""

    text: str
    delta: str
    replace: Literal[True] | UnsetType = UNSET


class ToolStart(Struct, frozen=True, kw_only=True, rename="camel", tag_field="phase", tag="start"):
    """Stream `tool`: the model asks for a tool of the caller's; `args` are its arguments."""

    name: str
    tool_call_id: str
    args: Any


Data = LifecycleStart | LifecycleEnd | LifecycleError | Assistant | Thinking | ToolStart


class AgentPayload(Struct, frozen=True, kw_only=True, rename="camel"):
    """Event `agent`: `seq` rises with every event of the run, `ts` is in ms since the epoch."""

    run_id: str
    stream: Stream
    data: Data
    seq: int
    ts: int
    session_key: str
    agent_id: Since4[str] = UNSET
    session_id: Since4[str] = UNSET

    def told_to(self, speaks_4: bool) -> AgentPayload:
        """Return what a client of one version of the protocol gets."""
        if speaks_4:
            return self
        data = self.data
        if isinstance(data, LifecycleStart):
            data = LifecycleStart(started_at=data.started_at)
        return msgspec.structs.replace(self, data=data, agent_id=UNSET, session_id=UNSET)


class ChatText(Struct, frozen=True, tag_field="type", tag="text"):
    """The one part of a message."""

    text: str


class ChatMessage(Struct, frozen=True, kw_only=True):
    """An assistant message; `timestamp` is in ms since the epoch."""

    role: Literal["assistant"] = "assistant"
    content: tuple[ChatText, ...]
    timestamp: int


class ChatPayload(Struct, frozen=True, kw_only=True, rename="camel"):
    """Event `chat`: the message so far (`delta`), or how the run ended (`final`, `aborted`, `error`).

    `deltaText` is what is new; with `replace` it is all of it. `stopReason` is that of the model, or of who
    stopped the run: `rpc`, `stop` or `timeout`.
    """

    run_id: str
    session_key: str
    agent_id: Since4[str] = UNSET
    seq: int
    state: State
    message: ChatMessage | UnsetType = UNSET
    delta_text: Since4[str] = UNSET
    replace: Since4[Literal[True]] = UNSET
    stop_reason: str | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    error_kind: Since4[ErrorKind] = UNSET

    def told_to(self, speaks_4: bool) -> ChatPayload:
        """Return what a client of one version of the protocol gets."""
        if speaks_4:
            return self
        return msgspec.structs.replace(
            self,
            agent_id=UNSET,
            delta_text=UNSET,
            replace=UNSET,
            error_kind=UNSET,
            stop_reason=UNSET if self.state == "final" else self.stop_reason,
        )


def stop_reason(error: GatewayError) -> str:
    """Return the word for what stopped a run: its time limit, or whoever cancelled it."""
    return error.stop_reason if isinstance(error, CancelledRunError) else "timeout"
