"""`hello-ok`: what a client is told when it has logged in.

Every key of the published schema is there, although the clients only use some; those that version 3 does not
know stay away from its clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.settings import AuthMode, LimitsSettings
from openclaw_twisted.ws.connect import ROLE, Client
from openclaw_twisted.ws.session_target import MAIN_KEY, main_session

__all__ = ["EVENTS", "Greeting", "HelloOk"]

EVENTS = ("agent", "chat", "connect.challenge", "shutdown", "tick")
"""Every event that is sent."""


class _Server(Struct, frozen=True, rename="camel"):
    version: str
    conn_id: str


class _Features(Struct, frozen=True):
    methods: tuple[str, ...]
    events: tuple[str, ...]
    capabilities: tuple[str, ...] | UnsetType


class _Presence(Struct, frozen=True):
    version: str
    ts: int
    mode: str = "gateway"
    reason: str = "self"
    text: str = "Gateway"


class _Health(Struct, frozen=True):
    ok: Literal[True] = True


class _StateVersion(Struct, frozen=True):
    # What they count never changes here: no presence or health events are sent.
    presence: int = 1
    health: int = 1


class _SessionDefaults(Struct, frozen=True, rename="camel"):
    default_agent_id: str
    main_key: str
    main_session_key: str
    scope: str = "per-sender"
    model_configured: bool | UnsetType = UNSET
    ownership: Literal["sole"] | UnsetType = UNSET
    selection_required: bool | UnsetType = UNSET


class _Snapshot(Struct, frozen=True, rename="camel"):
    presence: tuple[_Presence, ...]
    health: _Health
    state_version: _StateVersion
    uptime_ms: int
    auth_mode: AuthMode
    session_defaults: _SessionDefaults


class _Granted(Struct, frozen=True):
    role: str
    scopes: tuple[str, ...]


class _Policy(Struct, frozen=True, rename="camel"):
    max_payload: int
    max_buffered_bytes: int
    tick_interval_ms: int


class HelloOk(Struct, frozen=True, tag_field="type", tag="hello-ok"):
    """The payload of the response to `connect`."""

    protocol: int
    server: _Server
    features: _Features
    snapshot: _Snapshot
    auth: _Granted
    policy: _Policy


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What every hello-ok of one gateway is made from.

    `now` gives seconds since the epoch, `uptime_seconds` those since the start.
    """

    version: str
    auth_mode: AuthMode
    directory: Directory
    limits: LimitsSettings
    now: Callable[[], float]
    uptime_seconds: Callable[[], float]

    def to(self, client: Client, methods: Iterable[str]) -> HelloOk:
        """Return the hello-ok for a client that may call `methods`."""
        limits = self.limits
        return HelloOk(
            protocol=client.protocol,
            server=_Server(self.version, client.connection_id),
            features=_Features(tuple(methods), EVENTS, () if client.speaks_4 else UNSET),
            snapshot=_Snapshot(
                presence=(_Presence(self.version, int(self.now() * 1000)),),
                health=_Health(),
                state_version=_StateVersion(),
                uptime_ms=int(self.uptime_seconds() * 1000),
                auth_mode=self.auth_mode,
                session_defaults=self._session_defaults(client),
            ),
            auth=_Granted(ROLE, tuple(sorted(client.scopes))),
            policy=_Policy(
                limits.max_payload_bytes, limits.max_buffered_bytes, int(limits.tick_seconds * 1000)
            ),
        )

    def _session_defaults(self, client: Client) -> _SessionDefaults:
        agent = self.directory.default
        new = client.speaks_4
        return _SessionDefaults(
            agent.id,
            MAIN_KEY,
            str(main_session(agent)),
            model_configured=agent.model is not None if new else UNSET,
            ownership="sole" if new else UNSET,
            selection_required=False if new else UNSET,
        )
