"""The Protocols between the pipeline and the abilities it is handed: no logic here.

Each implementation carries one typed line that proves it fits, next to its definition:
`_: type[Provider] = OpenAICompletions`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec

from openclaw_twisted.content import FinishReason, Message, ToolSpec, Usage
from openclaw_twisted.events import ProviderEvent, RunEvent

__all__ = [
    "Embedded",
    "Embedder",
    "Listener",
    "ModelRequest",
    "Provider",
    "RunRecord",
    "RunStatus",
    "Sampling",
    "SessionBus",
    "SessionChange",
    "SessionChangeReason",
    "SessionRow",
    "SessionStore",
    "StoredMessage",
    "TurnRecord",
]


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the model is asked to answer; None leaves the choice to the provider."""

    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    max_tokens: int | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model: everything it gets to see.

    `model` is the name of the model as the provider that is asked knows it, `fallbacks` are further
    names to try, in order, as long as nothing of an answer has arrived. `tool_choice` is `auto`,
    `none`, `required` or one tool, given as `("function", name)`.
    """

    model: str
    fallbacks: tuple[str, ...] = ()
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | tuple[str, str] | None = None
    sampling: Sampling = Sampling()


class Provider(Protocol):
    """Something that answers model requests: a remote API, a local model, a script."""

    def check(self, model: str) -> None:
        """Raise at once what is already known to make an answer impossible.

        Raises `AgentNotFoundError` for a model nobody offers, `NoProviderError`, `ModelNotReadyError`.
        """
        ...

    def respond(self, request: ModelRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        """Yield the answer in batches as it arrives; the last event of the last batch is `Finished`.

        Asking for the next batch only when the last one was dealt with is the back-pressure: an
        implementation stops reading its socket meanwhile. Closing the generator (or cancelling the
        Deferred it waits for) closes the upstream connection. Raises `UpstreamError` and its children,
        `NoProviderError`, `ModelNotReadyError`.
        """
        ...


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, one for each input and in their order; `usage` is None when the provider did not count."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None


class Embedder(Protocol):
    """A model that turns texts into vectors."""

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], dimensions: int | None
    ) -> Embedded:
        """Embed texts, or texts as lists of tokens; raises `UpstreamError` and its children."""
        ...


RunStatus = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a run: who answered, how it ended, what it cost. Times in seconds since the epoch."""

    run_id: str
    session_key: str
    agent_id: str
    model: str
    status: RunStatus
    started_at: float
    ended_at: float | None = None
    finish_reason: FinishReason | None = None
    error_code: str | None = None
    usage: Usage | None = None


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the store keeps it: `seq` counts from 1 within its session.

    `interrupted` marks an assistant message that was cut off and is no complete answer.
    """

    seq: int
    run_id: str
    at: float
    message: Message
    interrupted: bool = False


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run with the messages it added to its session, written as a whole or not at all."""

    run: RunRecord
    messages: tuple[Message, ...]
    interrupted: bool = False


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a listing; times in seconds since the epoch."""

    session_key: str
    agent_id: str
    created_at: float
    updated_at: float
    message_count: int


class SessionStore(Protocol):
    """Where sessions and runs outlive the request; every implementation passes `tests/contracts`.

    Every method that returns raises `StorageError` when it could not do its work. "Durable" means: it
    survives the loss of the process and of the machine's power.
    """

    async def open(self) -> None:
        """Create or migrate the store; runs that a crash left running become `interrupted`."""
        ...

    async def close(self) -> None:
        """Write what is waiting and let go of the store."""
        ...

    async def history(self, session_key: str, limit: int = 1000) -> tuple[StoredMessage, ...]:
        """Return the newest `limit` messages of a session, oldest first; an unknown session has none."""
        ...

    async def begin(self, run: RunRecord) -> None:
        """Record that a run started, so that a crash can be told apart from an end."""
        ...

    async def commit(self, turn: TurnRecord) -> None:
        """Append a turn to its session and record how its run ended; durable when it returns."""
        ...

    def note(self, turn: TurnRecord) -> None:
        """Record a stateless run soon, off the hot path; it may be lost with the process, never half kept."""
        ...

    async def sessions(self, limit: int = 100) -> tuple[SessionRow, ...]:
        """Return the most recently updated sessions, newest first."""
        ...

    async def run(self, run_id: str) -> RunRecord | None:
        """Return what is kept of a run."""
        ...

    async def prune_stateless(self, before: float) -> int:
        """Delete stateless sessions last updated before `before`, with their runs; return how many."""
        ...


class Listener(Protocol):
    """Something that wants a run's events as they happen: an SSE stream, a WebSocket connection."""

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Take the next batch; must neither block nor raise."""
        ...


SessionChangeReason = Literal["create", "patch", "reset", "delete", "compact", "message", "start", "end"]


class SessionChange(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a session is different now: `at`, in seconds since the epoch.

    `start` and `end` are those of a run, `message` says that a turn's messages have been kept; the other
    reasons are what somebody did to the session.
    """

    session_key: str
    agent_id: str
    reason: SessionChangeReason
    at: float


class SessionBus(Protocol):
    """How those who change sessions tell those who show them."""

    def announce(self, change: SessionChange) -> None:
        """Tell every watcher, now; neither blocks nor raises."""
        ...

    def watch(self, callback: Callable[[SessionChange], object]) -> Callable[[], None]:
        """Have `callback` called with every change from now on, until what is returned is called."""
        ...
