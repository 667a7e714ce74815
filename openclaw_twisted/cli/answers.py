"""What is read of a gateway's answers, this one's and OpenClaw's own.

Everything that may be missing may be missing here: a gateway of another version is to be read too.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from openclaw_twisted.cli.ending import CommandError

__all__ = [
    "Aborted",
    "Agents",
    "Deleted",
    "Described",
    "Health",
    "ListedSession",
    "ModelInUse",
    "Models",
    "Reset",
    "Runs",
    "Sessions",
    "Status",
    "read",
]

T = TypeVar("T")


def read(payload: bytes, kind: type[T]) -> T:
    """Read an answer; raises `CommandError` if it is not of that kind."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.DecodeError as error:
        raise CommandError(
            f"The gateway's answer cannot be read ({error}). --json shows it as it came."
        ) from None


class ListedModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """A model."""

    id: str
    name: str = ""
    provider: str = ""
    context_window: float | None = None
    reasoning: bool | None = None
    available: bool | None = None

    @property
    def full_name(self) -> str:
        """The name that requests give it."""
        return f"{self.provider}/{self.id}" if self.provider else self.id


class Models(Struct, frozen=True):
    """The answer of `models.list`."""

    models: tuple[ListedModel, ...]


class ModelInUse(Struct, frozen=True, kw_only=True):
    """The models that an agent asks, in order."""

    primary: str | None = None
    fallbacks: tuple[str, ...] = ()


class ListedAgent(Struct, frozen=True, kw_only=True):
    """An agent."""

    id: str
    name: str | None = None
    model: ModelInUse | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the agent asks, in order."""
        if self.model is None:
            return ()
        return (*filter(None, (self.model.primary,)), *self.model.fallbacks)


class Agents(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `agents.list`."""

    default_id: str | None = None
    agents: tuple[ListedAgent, ...]


class AgentHealth(Struct, frozen=True, kw_only=True, rename="camel"):
    """An agent that is there."""

    agent_id: str


class Health(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `health`."""

    ok: bool
    duration_ms: float = 0
    agents: tuple[AgentHealth, ...] = ()
    channels: dict[str, Any] = {}


class StatusDefaults(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a new session begins with."""

    model: str | None = None
    context_tokens: float | None = None


class StatusSession(Struct, frozen=True, kw_only=True):
    """A session that was used lately; `age` in ms."""

    key: str
    age: float | None = None


class StatusAgent(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many sessions an agent has."""

    agent_id: str
    count: int = 0


class StatusSessions(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many sessions there are, and the last ones that were used."""

    count: int = 0
    defaults: StatusDefaults = StatusDefaults()
    recent: tuple[StatusSession, ...] = ()
    by_agent: tuple[StatusAgent, ...] = ()


class RunCounts(Struct, frozen=True, kw_only=True):
    """How many runs go on."""

    running: int = 0
    waiting: int = 0


class TaskCounts(Struct, frozen=True, kw_only=True):
    """What OpenClaw's own gateway counts instead."""

    active: int = 0


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `status`."""

    runtime_version: str | None = None
    sessions: StatusSessions = StatusSessions()
    runs: RunCounts | None = None
    tasks: TaskCounts | None = None


class ListedSession(Struct, frozen=True, kw_only=True, rename="camel"):
    """A session; times in ms since the epoch."""

    key: str
    session_id: str | None = None
    updated_at: float | None = None
    started_at: float | None = None
    label: str | None = None
    derived_title: str | None = None
    model_provider: str | None = None
    model: str | None = None
    context_tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    total_tokens: float | None = None
    thinking_level: str | None = None
    has_active_run: bool = False

    @property
    def full_model(self) -> str:
        """The model with its provider, as far as they are known."""
        return "/".join(filter(None, (self.model_provider, self.model)))

    @property
    def context(self) -> str:
        """How much of the model's context is taken up."""
        if self.total_tokens is None:
            return ""
        size = f" of {self.context_tokens:.0f}" if self.context_tokens else ""
        return f"{self.total_tokens:.0f}{size}"


class Sessions(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `sessions.list`; `ts` is the gateway's time."""

    ts: float = 0
    sessions: tuple[ListedSession, ...] = ()
    total_count: int | None = None


class Described(Struct, frozen=True):
    """The answer of `sessions.describe`."""

    session: ListedSession | None = None


class Entry(Struct, frozen=True, rename="camel"):
    """A session's new state."""

    session_id: str | None = None


class Reset(Struct, frozen=True, kw_only=True):
    """The answer of `sessions.reset`."""

    key: str
    entry: Entry = Entry()


class Deleted(Struct, frozen=True, kw_only=True):
    """The answer of `sessions.delete`."""

    key: str
    deleted: bool = True


class ListedRun(Struct, frozen=True, kw_only=True, rename="camel"):
    """A run; times in ms since the epoch."""

    run_id: str
    session_key: str
    agent_id: str
    status: str
    model: str
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.ended_at is not None


class Runs(Struct, frozen=True, kw_only=True):
    """The answer of `runs.list`; `ts` is the gateway's time."""

    ts: float
    runs: tuple[ListedRun, ...]


class Aborted(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `chat.abort`."""

    aborted: bool = False
    run_ids: tuple[str, ...] = ()
