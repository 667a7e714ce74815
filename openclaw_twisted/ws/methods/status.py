"""`health`, `status`, `system-presence`: how the gateway is, and who is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted import __version__
from openclaw_twisted.auth.scopes import Scope, allows
from openclaw_twisted.boundaries import SessionPage, SessionQuery
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import NoParams
from openclaw_twisted.ws.presence import Presence, PresenceEntry
from openclaw_twisted.ws.pulse import Pulse
from openclaw_twisted.ws.session_payloads import Shown, milliseconds
from openclaw_twisted.ws.since import Since4

__all__ = ["HealthParams", "StatusMethods"]

MAX_RECENT = 10
PATH = "sessions.sqlite3"


class HealthParams(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Accepted because OpenClaw's clients send them: there is nothing to probe, nothing secret to include."""

    probe: bool = False
    include_sensitive: bool = False


class NoHeartbeat(Struct, frozen=True, kw_only=True, rename="camel"):
    """The heartbeat of an agent, which it has none of."""

    enabled: bool = False
    every: str = ""
    every_ms: None = None
    prompt: str = ""
    target: str = "none"
    ack_max_chars: int = 0


class RecentSession(Struct, frozen=True, kw_only=True, rename="camel"):
    """A session that was used lately; `age` is since when, `updatedAt` when, both in ms."""

    key: str
    updated_at: int
    age: int


class HealthSessions(Struct, frozen=True, kw_only=True):
    """How many sessions there are, and the last ones that were used."""

    path: str = PATH
    count: int
    recent: tuple[RecentSession, ...]


class AgentHealth(Struct, frozen=True, kw_only=True, rename="camel"):
    """One agent."""

    agent_id: str
    name: str
    is_default: bool
    heartbeat: NoHeartbeat = NoHeartbeat()
    sessions: HealthSessions


class Health(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether the gateway can answer; `ts` is in ms since the epoch. There are no channels, no heartbeats."""

    ok: bool
    ts: int
    duration_ms: int = 0
    channels: dict[str, Any] = {}
    channel_order: tuple[str, ...] = ()
    channel_labels: dict[str, str] = {}
    heartbeat_seconds: int = 0
    default_agent_id: str
    agents: tuple[AgentHealth, ...] | UnsetType = UNSET
    sessions: HealthSessions | UnsetType = UNSET


class Runs(Struct, frozen=True):
    """How many runs go on."""

    running: int
    waiting: int


class Heartbeats(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose heart beats when: nobody's."""

    default_agent_id: str
    agents: tuple[()] = ()


class StatusDefaults(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a new session begins with."""

    model: str | None
    context_tokens: int


class StatusSession(Struct, frozen=True, kw_only=True, rename="camel"):
    """A session that was used lately; `age` is since when, `updatedAt` when, both in ms."""

    agent_id: str
    key: str
    kind: str = "direct"
    session_id: str
    updated_at: int
    age: int


class StatusPage(Struct, frozen=True, kw_only=True):
    """How many sessions there are, and the last ones that were used."""

    count: int
    recent: tuple[StatusSession, ...]


class StatusAgent(Struct, frozen=True, kw_only=True, rename="camel"):
    """The sessions of one agent that were used lately."""

    agent_id: str
    path: str = PATH
    count: int
    recent: tuple[StatusSession, ...]


class StatusSessions(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many sessions there are, and the last ones that were used."""

    paths: tuple[str, ...] = (PATH,)
    count: int
    defaults: StatusDefaults
    recent: tuple[StatusSession, ...]
    by_agent: tuple[StatusAgent, ...]


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the gateway does; `runs` is told to version 4."""

    runtime_version: str = __version__
    heartbeat: Heartbeats
    channel_summary: tuple[()] = ()
    queued_system_events: tuple[()] = ()
    sessions: StatusSessions
    runs: Since4[Runs] = UNSET


@dataclass(frozen=True, kw_only=True)
class StatusMethods:
    """The family of `status`."""

    runner: Runner
    shown: Shown
    presence: Presence
    pulse: Pulse

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (
            Method("health", HealthParams, self.health),
            Method("status", NoParams, self.status),
            Method("system-presence", NoParams, self.system_presence),
        )

    async def health(self, call: Call, _params: HealthParams) -> Answer[Health]:
        """Tell how the gateway is; agents and sessions only to those who may read."""
        self.pulse.asked_for_health()
        brief = self.pulse.brief()
        health = Health(ok=brief.ok is True, ts=brief.ts, default_agent_id=self.shown.directory.default.id)
        if not allows(call.client.scopes, Scope.READ):
            return Answer(health)
        everybodys, by_agent = await self._pages()
        return Answer(
            msgspec.structs.replace(
                health,
                agents=tuple(self._agent_health(agent_id, page) for agent_id, page in by_agent.items()),
                sessions=_briefly(everybodys),
            )
        )

    def _agent_health(self, agent_id: str, page: StatusPage) -> AgentHealth:
        agent, default = self.shown.directory.named(agent_id), self.shown.directory.default
        return AgentHealth(
            agent_id=agent.id, name=agent.name, is_default=agent.id == default.id, sessions=_briefly(page)
        )

    async def status(self, call: Call, _params: NoParams) -> Answer[Status]:
        """Tell what the gateway does."""
        runner = self.runner
        return Answer(
            Status(
                heartbeat=Heartbeats(default_agent_id=self.shown.directory.default.id),
                sessions=await self._sessions(),
                runs=Runs(runner.running, runner.waiting) if call.client.speaks_4 else UNSET,
            )
        )

    async def _sessions(self) -> StatusSessions:
        everybodys, by_agent = await self._pages()
        model = self.shown.model_of(None)
        return StatusSessions(
            count=everybodys.count,
            defaults=StatusDefaults(model=model or None, context_tokens=self.shown.context_tokens(model)),
            recent=everybodys.recent,
            by_agent=tuple(
                StatusAgent(agent_id=agent_id, count=page.count, recent=page.recent)
                for agent_id, page in by_agent.items()
            ),
        )

    async def _pages(self) -> tuple[StatusPage, Mapping[str, StatusPage]]:
        """Return the sessions of everybody and of each agent."""
        store, now_ms = self.runner.sessions.store, self.pulse.brief().ts
        everybodys = await store.sessions(SessionQuery(limit=MAX_RECENT, stateless=False))
        by_agent = await store.sessions_by_agent(MAX_RECENT)
        nothing = SessionPage(rows=(), total=0)
        ids = self.shown.directory.ids
        return _page(everybodys, now_ms), {
            agent_id: _page(by_agent.get(agent_id, nothing), now_ms) for agent_id in ids
        }

    async def system_presence(self, _call: Call, _params: NoParams) -> Answer[tuple[PresenceEntry, ...]]:
        """Tell who is there."""
        return Answer(self.presence.entries())


def _page(page: SessionPage, now_ms: int) -> StatusPage:
    return StatusPage(
        count=page.total,
        recent=tuple(
            StatusSession(
                agent_id=row.agent_id,
                key=row.session_key,
                session_id=row.session_id,
                updated_at=milliseconds(row.updated_at),
                age=max(0, now_ms - milliseconds(row.updated_at)),
            )
            for row in page.rows
        ),
    )


def _briefly(page: StatusPage) -> HealthSessions:
    return HealthSessions(
        count=page.count,
        recent=tuple(
            RecentSession(key=recent.key, updated_at=recent.updated_at, age=recent.age)
            for recent in page.recent
        ),
    )
