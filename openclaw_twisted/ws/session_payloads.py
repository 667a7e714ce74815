"""How sessions look to WebSocket clients: a row of a listing, and what can be chosen for a session."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.boundaries import SessionRow
from openclaw_twisted.ws.since import Since4

__all__ = ["Choices", "Defaults", "Shown", "ShownSession", "milliseconds"]

_Text = Annotated[str, Meta(min_length=1, max_length=512)]


class Choices(Struct, frozen=True, kw_only=True, rename="camel"):
    """What clients keep with a session for themselves and for each other; it changes nothing here."""

    icon: str | UnsetType | None = UNSET
    color: str | UnsetType | None = UNSET
    category: _Text | UnsetType | None = UNSET
    status_note: Annotated[str, Meta(max_length=120)] | UnsetType | None = UNSET
    board_face: Literal["chat", "dashboard"] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    unread: bool | UnsetType = UNSET
    fast_mode: bool | Literal["auto"] | UnsetType | None = UNSET
    trace_level: _Text | UnsetType | None = UNSET
    reasoning_level: _Text | UnsetType | None = UNSET
    response_usage: Literal["off", "tokens", "full", "on"] | UnsetType | None = UNSET
    elevated_level: _Text | UnsetType | None = UNSET
    send_policy: Literal["allow", "deny"] | UnsetType | None = UNSET
    group_activation: Literal["mention", "always"] | UnsetType | None = UNSET

    def options(self) -> dict[str, Any]:
        """Return what is given, as the store keeps it; None clears."""
        return {
            field.encode_name: value
            for field in msgspec.structs.fields(Choices)
            if (value := getattr(self, field.name)) is not UNSET
        }


class Defaults(Struct, frozen=True, kw_only=True, rename="camel"):
    """What holds for sessions that nothing was chosen for."""

    model_provider: str | None
    model: str | None
    context_tokens: int


class ShownSession(Choices, frozen=True, kw_only=True, rename="camel"):
    """A session; times in ms since the epoch.

    `sessionId` names its conversation and changes with a reset. `inputTokens` and `outputTokens` are those of
    all its runs, `totalTokens` what the conversation takes up of the `contextTokens` of its model. The last
    keys are told to version 4.
    """

    key: str
    kind: Literal["direct"] = "direct"
    updated_at: int
    session_id: str
    label: str | UnsetType = UNSET
    display_name: str | UnsetType = UNSET
    derived_title: str | UnsetType = UNSET
    last_message_preview: str | UnsetType = UNSET
    model_provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    context_tokens: int
    input_tokens: int
    output_tokens: int
    total_tokens: int | UnsetType = UNSET
    total_tokens_fresh: bool = False
    thinking_level: str | UnsetType = UNSET
    verbose_level: str | UnsetType = UNSET
    agent_id: Since4[str] = UNSET
    started_at: Since4[int] = UNSET
    has_active_run: Since4[bool] = UNSET


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Shows sessions; `active` gives the keys of those at work, `context_tokens` a model's context window."""

    directory: Directory
    active: Callable[[], Collection[str]]
    context_tokens: Callable[[str], int]

    def session(
        self, row: SessionRow, *, speaks_4: bool, titles: bool = False, previews: bool = False
    ) -> ShownSession:
        """Return one session, with its title and its last words if they are wanted."""
        return self.sessions((row,), speaks_4=speaks_4, titles=titles, previews=previews)[0]

    def sessions(
        self,
        rows: Collection[SessionRow],
        *,
        speaks_4: bool,
        titles: bool = False,
        previews: bool = False,
    ) -> tuple[ShownSession, ...]:
        """Return several sessions."""
        active = self.active() if speaks_4 else ()
        return tuple(self._shown(row, active, speaks_4, titles, previews) for row in rows)

    def defaults(self, agent_id: str | None = None) -> Defaults:
        """Return what holds for the sessions of an agent, or else of the default one."""
        full = self.model_of(agent_id)
        provider, _, model = full.partition("/")
        return Defaults(
            model_provider=provider or None,
            model=model or None,
            context_tokens=self.context_tokens(full),
        )

    def model_of(self, agent_id: str | None, chosen: str | None = None) -> str:
        """Return the model, as `provider/model`, that was chosen or that the agent has; empty without any."""
        agent = (self.directory.get(agent_id) if agent_id else None) or self.directory.default
        return chosen or next(iter(agent.candidates()), "")

    def _shown(
        self, row: SessionRow, active: Collection[str], speaks_4: bool, titles: bool, previews: bool
    ) -> ShownSession:
        full = self.model_of(row.agent_id, row.model)
        provider, _, model = full.partition("/")
        try:
            options = msgspec.convert(row.options, Choices)
        except msgspec.ValidationError:  # another version's; they are the clients' own
            options = Choices()
        return ShownSession(
            **{field: getattr(options, field) for field in Choices.__struct_fields__},
            key=row.session_key,
            updated_at=milliseconds(row.updated_at),
            session_id=row.session_id,
            label=row.label or UNSET,
            display_name=row.label or UNSET,
            derived_title=(row.title or UNSET) if titles else UNSET,
            last_message_preview=(row.preview or UNSET) if previews else UNSET,
            model_provider=provider or UNSET,
            model=model or UNSET,
            context_tokens=self.context_tokens(full),
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            total_tokens=UNSET if row.context_tokens is None else row.context_tokens,
            total_tokens_fresh=row.context_tokens is not None,
            thinking_level=row.thinking_level or UNSET,
            verbose_level=row.verbose_level or UNSET,
            agent_id=row.agent_id if speaks_4 else UNSET,
            started_at=milliseconds(row.started_at) if speaks_4 else UNSET,
            has_active_run=row.session_key in active if speaks_4 else UNSET,
        )


def milliseconds(seconds: float) -> int:
    """Return a time in ms."""
    return int(seconds * 1000)
