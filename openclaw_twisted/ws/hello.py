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
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.connect_params import ROLE
from openclaw_twisted.ws.event_payloads import EVENTS, HealthBrief
from openclaw_twisted.ws.frames import StateVersion
from openclaw_twisted.ws.presence import PresenceEntry
from openclaw_twisted.ws.pulse import State
from openclaw_twisted.ws.session_target import MAIN_KEY, main_session
from openclaw_twisted.ws.since import Since4

__all__ = ["CAPABILITIES", "Greeting", "HelloOk"]

CAPABILITIES = ("published-model-catalog",)
"""What version 4 looks for: `models.list` tells every model that can be asked for."""

_EVENTS = tuple(event.name for event in EVENTS)


class ServerInfo(Struct, frozen=True, rename="camel"):
    """The gateway."""

    version: str
    conn_id: str


class Features(Struct, frozen=True):
    """What there is."""

    methods: tuple[str, ...]
    events: tuple[str, ...]
    capabilities: Since4[tuple[str, ...]] = UNSET


class SessionDefaults(Struct, frozen=True, rename="camel"):
    """How sessions are called: pages turn `main` into a whole key by it."""

    default_agent_id: str
    main_key: str
    main_session_key: str
    scope: str = "per-sender"
    model_configured: Since4[bool] = UNSET
    ownership: Since4[Literal["sole"]] = UNSET
    selection_required: Since4[bool] = UNSET


class Snapshot(Struct, frozen=True, rename="camel"):
    """How things stand; `uptimeMs` is since the gateway's start."""

    presence: tuple[PresenceEntry, ...]
    health: HealthBrief
    state_version: StateVersion
    uptime_ms: int
    auth_mode: AuthMode
    session_defaults: SessionDefaults


class Granted(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the client may do, and the token of its device."""

    role: str
    scopes: tuple[str, ...]
    device_token: str | UnsetType = UNSET
    issued_at_ms: int | UnsetType = UNSET


class Policy(Struct, frozen=True, rename="camel"):
    """What the connection is kept to."""

    max_payload: int
    max_buffered_bytes: int
    tick_interval_ms: int


class HelloOk(Struct, frozen=True, tag_field="type", tag="hello-ok"):
    """The payload of the response to `connect`."""

    protocol: int
    server: ServerInfo
    features: Features
    snapshot: Snapshot
    auth: Granted
    policy: Policy


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What every hello-ok of one gateway is made from.

    `uptime_seconds` gives those since the start.
    """

    version: str
    auth_mode: AuthMode
    directory: Directory
    limits: LimitsSettings
    uptime_seconds: Callable[[], float]

    def to(self, client: Client, methods: Iterable[str], state: State) -> HelloOk:
        """Return the hello-ok for a client that may call `methods`."""
        limits = self.limits
        return HelloOk(
            protocol=client.protocol,
            server=ServerInfo(self.version, client.connection_id),
            features=Features(tuple(methods), _EVENTS, CAPABILITIES if client.speaks_4 else UNSET),
            snapshot=Snapshot(
                presence=state.presence,
                health=state.health,
                state_version=state.version,
                uptime_ms=int(self.uptime_seconds() * 1000),
                auth_mode=self.auth_mode,
                session_defaults=self._session_defaults(client),
            ),
            auth=_granted(client),
            policy=Policy(
                limits.max_payload_bytes, limits.max_buffered_bytes, int(limits.tick_seconds * 1000)
            ),
        )

    def _session_defaults(self, client: Client) -> SessionDefaults:
        agent = self.directory.default
        new = client.speaks_4
        return SessionDefaults(
            agent.id,
            MAIN_KEY,
            str(main_session(agent)),
            model_configured=agent.model is not None if new else UNSET,
            ownership="sole" if new else UNSET,
            selection_required=False if new else UNSET,
        )


def _granted(client: Client) -> Granted:
    token = client.device_token
    return Granted(
        role=ROLE,
        scopes=tuple(sorted(client.scopes)),
        device_token=token.token.reveal() if token else UNSET,
        issued_at_ms=token.issued_at_ms if token else UNSET,
    )
