"""Every event that is sent: its name, its payload, and when it comes.

Payloads that are as small as these stand here, those of runs and sessions where they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.auth.scopes import Scope
from openclaw_twisted.ws.presence import PresenceEntry
from openclaw_twisted.ws.run_payloads import AgentPayload, ChatPayload
from openclaw_twisted.ws.session_news import MessagePayload, SessionPayload

__all__ = ["EVENTS", "Challenge", "EventKind", "HealthBrief", "Present", "Shutdown", "Tick"]


class Challenge(Struct, frozen=True, kw_only=True):
    """What a device signs; `ts` is in ms since the epoch."""

    nonce: str
    ts: int


class HealthBrief(Struct, frozen=True, kw_only=True):
    """Whether the gateway can answer requests; `ts` is in ms since the epoch.

    `ok` is missing while it cannot: clients of OpenClaw may refuse any value but true.
    """

    ok: Literal[True] | UnsetType
    ts: int


class Present(Struct, frozen=True):
    """Who is there."""

    presence: tuple[PresenceEntry, ...]


class Tick(Struct, frozen=True):
    """The gateway is alive; `ts` is in ms since the epoch."""

    ts: int


class Shutdown(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why the connection is about to be closed; protocol 3 hears that nobody knows when it could be back."""

    reason: str = "gateway stopping"
    restart_expected_ms: UnsetType | None = UNSET


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """One event; `scope` is what a client needs to hear of it, None for everybody who has logged in."""

    name: str
    payload: Any
    when: str
    scope: Scope | None = None


EVENTS = (
    EventKind(name="agent", payload=AgentPayload, when="what a run does, step by step", scope=Scope.READ),
    EventKind(name="chat", payload=ChatPayload, when="what the conversation looks like", scope=Scope.READ),
    EventKind(name="connect.challenge", payload=Challenge, when="once, before the login"),
    EventKind(name="health", payload=HealthBrief, when="every minute, and when somebody has asked"),
    EventKind(name="presence", payload=Present, when="when somebody comes or goes"),
    EventKind(
        name="session.message",
        payload=MessagePayload,
        when="what a turn added to a session, to those who follow its messages",
        scope=Scope.READ,
    ),
    EventKind(
        name="sessions.changed",
        payload=SessionPayload,
        when="a session is another one now, to those who follow the list of sessions",
        scope=Scope.READ,
    ),
    EventKind(name="shutdown", payload=Shutdown, when="before the gateway stops; then close code 1012"),
    EventKind(name="tick", payload=Tick, when="every 30 seconds"),
)
"""Every event, by name."""
