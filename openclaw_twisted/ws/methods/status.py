"""`health`, `status`, `system-presence`: how the gateway is, and who is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted import __version__
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.scopes import Scope, allows
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.presence import Presence
from openclaw_twisted.ws.pulse import Pulse

__all__ = ["HealthParams", "NoParams", "StatusMethods"]


class HealthParams(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Accepted because OpenClaw's clients send them: there is nothing to probe, nothing secret to include."""

    probe: bool = False
    include_sensitive: bool = False


class NoParams(Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to choose."""


class NoHeartbeat(Struct, frozen=True, kw_only=True, rename="camel"):
    """The heartbeat of an agent, which it has none of."""

    enabled: bool = False
    every: str = ""
    every_ms: None = None
    prompt: str = ""
    target: str = "none"
    ack_max_chars: int = 0


class AgentHealth(Struct, frozen=True, kw_only=True, rename="camel"):
    """One agent."""

    agent_id: str
    name: str
    is_default: bool
    heartbeat: NoHeartbeat = NoHeartbeat()


class Health(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the gateway is; `ts` is in ms since the epoch. There are no channels and no heartbeats."""

    ok: bool = True
    ts: int
    duration_ms: int = 0
    channels: dict[str, Any] = {}
    channel_order: tuple[str, ...] = ()
    channel_labels: dict[str, str] = {}
    heartbeat_seconds: int = 0
    default_agent_id: str
    agents: tuple[AgentHealth, ...] | UnsetType = UNSET


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
    context_tokens: None = None


class StatusSessions(Struct, frozen=True, kw_only=True, rename="camel"):
    """The sessions."""

    defaults: StatusDefaults


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the gateway does; `runs` is told to version 4."""

    runtime_version: str = __version__
    heartbeat: Heartbeats
    channel_summary: tuple[()] = ()
    queued_system_events: tuple[()] = ()
    sessions: StatusSessions
    runs: Runs | UnsetType = UNSET


@dataclass(frozen=True, kw_only=True)
class StatusMethods:
    """The family of `status`."""

    runner: Runner
    directory: Directory
    presence: Presence
    pulse: Pulse

    def methods(self) -> tuple[Method[Any], ...]:
        """Return the methods of this family."""
        return (
            Method("health", HealthParams, self.health),
            Method("status", NoParams, self.status),
            Method("system-presence", NoParams, self.system_presence),
        )

    async def health(self, call: Call, _params: HealthParams) -> Answer:
        """Tell how the gateway is; the agents only to those who may read."""
        self.pulse.asked_for_health()
        directory = self.directory
        agents = (directory.named(agent_id) for agent_id in directory.ids)
        return Answer(
            Health(
                ts=self.pulse.brief().ts,
                default_agent_id=directory.default.id,
                agents=tuple(
                    AgentHealth(
                        agent_id=agent.id, name=agent.name, is_default=agent.id == directory.default.id
                    )
                    for agent in agents
                )
                if allows(call.client.scopes, Scope.READ)
                else UNSET,
            )
        )

    async def status(self, call: Call, _params: NoParams) -> Answer:
        """Tell what the gateway does."""
        agent, runner = self.directory.default, self.runner
        return Answer(
            Status(
                heartbeat=Heartbeats(default_agent_id=agent.id),
                sessions=StatusSessions(defaults=StatusDefaults(model=next(iter(agent.candidates()), None))),
                runs=Runs(runner.running, runner.waiting) if call.client.speaks_4 else UNSET,
            )
        )

    async def system_presence(self, _call: Call, _params: NoParams) -> Answer:
        """Tell who is there."""
        return Answer(self.presence.entries())
