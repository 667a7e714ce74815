"""The Protocols between the pipeline and the abilities it is handed: no logic here.

Each implementation carries one typed line that proves it fits, next to its definition:
`_: type[Provider] = OpenAICompletions`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from openclaw_twisted.content import Message, ToolSpec, Usage
from openclaw_twisted.events import ProviderEvent, RunEvent
from openclaw_twisted.records import (
    MAX_HISTORY_CHARACTERS,
    MAX_HISTORY_MESSAGES,
    Claim,
    Conversation,
    Pruned,
    Recollection,
    Retention,
    RunRecord,
    RunStatus,
    SessionChange,
    SessionChangeReason,
    SessionPage,
    SessionPatch,
    SessionQuery,
    SessionRow,
    StoredMessage,
    TurnRecord,
)

__all__ = [
    "MAX_HISTORY_CHARACTERS",
    "MAX_HISTORY_MESSAGES",
    "Batches",
    "CacheRetention",
    "Claim",
    "Conversation",
    "Embedded",
    "Embedder",
    "Listener",
    "ModelRequest",
    "Provider",
    "Pruned",
    "Recollection",
    "Retention",
    "RunRecord",
    "RunStatus",
    "Sampling",
    "SessionBus",
    "SessionChange",
    "SessionChangeReason",
    "SessionPage",
    "SessionPatch",
    "SessionQuery",
    "SessionRow",
    "SessionStore",
    "StoredMessage",
    "Taker",
    "Thinking",
    "TurnRecord",
]


CacheRetention = Literal["none", "short", "long"]

Thinking = Literal["off", "minimal", "low", "medium", "high", "xhigh", "adaptive", "max", "ultra"]
"""How hard to think, as OpenClaw says it; `adaptive` leaves that to the model."""


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the model is asked to answer; None leaves the choice to the provider.

    `reasoning_effort` is a level of OpenAI's or of OpenClaw's, as it was asked for; `thinking` is the level
    for when none was, and for models that reason only. `cache_retention` is for how long the provider is
    asked to keep the prompt, where it can be asked.
    """

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
    thinking: Thinking | None = None
    cache_retention: CacheRetention | None = None


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


Taker = Callable[[Sequence[ProviderEvent]], Awaitable[None] | None]
"""What takes batches as they come; what it returns is waited for before the next one."""

Batches = AsyncGenerator[Sequence[ProviderEvent], Taker | None]
"""An answer in batches, as it arrives.

To be woken for each batch costs more than most batches do. So whoever asks for the next one may send a taker:
a provider that knows what to do with it hands the following batches to that, and the generator goes on when
there are no more. Any other provider ignores it and yields them.
"""


class Provider(Protocol):
    """Something that answers model requests: a remote API, a local model, a script."""

    def check(self, model: str) -> None:
        """Raise at once what is already known to make an answer impossible.

        Raises `AgentNotFoundError` for a model nobody offers, `NoProviderError`, `ModelNotReadyError`.
        """
        ...

    def respond(self, request: ModelRequest) -> Batches:
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


class SessionStore(Protocol):
    """Where sessions and runs outlive the request; every implementation passes `tests/contracts`.

    Every method that returns raises `StorageError` when it could not do its work, and what writes is durable
    when it returns. "Durable" means: it survives the loss of the process and of the machine's power. Times
    are in seconds since the epoch. A session's key tells its agent.
    """

    async def open(self) -> None:
        """Create or migrate the store; runs that a crash left running become `interrupted`."""
        ...

    async def close(self) -> None:
        """Write what is waiting and let go of the store."""
        ...

    async def conversation(self, session_key: str, *, max_tokens: int | None = None) -> Conversation:
        """Return a session with the newest messages of its conversation, as a turn begins with them.

        At most `MAX_HISTORY_MESSAGES`, and no more than it takes to reach `MAX_HISTORY_CHARACTERS`, or
        `max_tokens` by `content.estimated_tokens`: the message that reaches it is the last one that is
        returned.
        """
        ...

    async def history(
        self,
        session_key: str,
        limit: int = 1000,
        *,
        before_seq: int | None = None,
        max_characters: int | None = None,
    ) -> tuple[StoredMessage, ...]:
        """Return the newest `limit` messages of a session's conversation, oldest first.

        `before_seq` asks for those before that message, `max_characters` for no more than it takes to reach
        that. An unknown session has none.
        """
        ...

    async def begin(self, run: RunRecord, claim: Claim | None = None) -> None:
        """Record that a run started, so that a crash can be told apart from an end.

        `claim` is the request's idempotency key; a key that was claimed before is now this run's.
        """
        ...

    async def commit(self, turn: TurnRecord) -> None:
        """Append a turn to its session and record how its run ended; durable when it returns."""
        ...

    def note(self, turn: TurnRecord) -> None:
        """Record a stateless run soon, off the hot path; it may be lost with the process, never half kept."""
        ...

    async def session(self, session_key: str) -> SessionRow | None:
        """Return a session, None when there is none of this key."""
        ...

    async def find_session(
        self, *, session_id: str | None = None, label: str | None = None
    ) -> SessionRow | None:
        """Return the session of this id, or else of this label."""
        ...

    async def sessions(self, query: SessionQuery | None = None) -> SessionPage:
        """Return the sessions that match, the most recently updated first."""
        ...

    async def sessions_by_agent(self, limit: int) -> Mapping[str, SessionPage]:
        """Return, for each agent with sessions, the `limit` ones that were updated last; none of requests."""
        ...

    async def patch(self, session_key: str, patch: SessionPatch, at: float) -> SessionRow:
        """Change what somebody chose for a session, which is created if need be; return what it is now.

        Raises `InvalidRequestError` for a label that another session has.
        """
        ...

    async def reset(self, session_key: str, at: float) -> SessionRow:
        """Let a session start afresh: a new id, no messages, no counts; what was chosen for it stays.

        The messages are archived. A session that there was not is created. Returns what it is now.
        """
        ...

    async def compact(self, session_key: str, keep: int, at: float) -> int:
        """Archive all but the newest `keep` messages of a session; return how many were archived.

        Cuts only where a turn begins, so fewer may stay; the last turn always stays.
        """
        ...

    async def delete(self, session_key: str) -> bool:
        """Delete a session with its messages, archives, runs and claims; tell whether there was one."""
        ...

    async def run(self, run_id: str) -> RunRecord | None:
        """Return what is kept of a run."""
        ...

    async def runs(self, session_key: str | None = None, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the newest runs, of one session or of all, the newest first."""
        ...

    async def recall(self, scope: str, key: str) -> Recollection | None:
        """Return what became of the run that a request with this idempotency key started, if it is kept."""
        ...

    async def prune(self, retention: Retention) -> Pruned:
        """Delete what may go, a little at a time; return how much it was."""
        ...

    async def surplus(self, retention: Retention) -> Pruned:
        """Tell what `prune` would delete because of age and number, and how large the store is."""
        ...


class Listener(Protocol):
    """Something that wants a run's events as they happen: an SSE stream, a WebSocket connection."""

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Take the next batch; must neither block nor raise."""
        ...


class SessionBus(Protocol):
    """How those who change sessions tell those who show them."""

    def announce(self, change: SessionChange) -> None:
        """Tell every watcher, now; neither blocks nor raises."""
        ...

    def watch(self, callback: Callable[[SessionChange], object]) -> Callable[[], None]:
        """Have `callback` called with every change from now on, until what is returned is called."""
        ...
