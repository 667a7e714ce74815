"""Who is there: the gateway itself and the clients that are logged in, the longest ones first."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.connect_params import ROLE

__all__ = ["MAX_LISTED", "Presence", "PresenceEntry"]

MAX_LISTED = 100
"""How many clients are listed: everybody is told of everybody, so this grows with the square of it."""


class PresenceEntry(Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody who is there; `ts` is since when, in ms since the epoch."""

    host: str
    ip: str | UnsetType = UNSET
    version: str
    platform: str | UnsetType = UNSET
    device_family: str | UnsetType = UNSET
    model_identifier: str | UnsetType = UNSET
    mode: str
    reason: str
    text: str
    ts: int
    device_id: str | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    instance_id: str | UnsetType = UNSET


class Presence:
    """The list; `now` gives seconds since the epoch, `version` counts the list's changes."""

    def __init__(self, *, host: str, version: str, now: Callable[[], float]) -> None:
        self._now = now
        self._gateway = PresenceEntry(
            host=host, version=version, mode="gateway", reason="self", text=f"Gateway: {host}", ts=self._ms()
        )
        self._clients: dict[str, PresenceEntry] = {}
        self.version = 1

    def join(self, client: Client) -> bool:
        """Add a client; tell whether the list is another one now."""
        self._clients[client.connection_id] = self._entry(client)
        return self._changed(len(self._clients) <= MAX_LISTED)

    def leave(self, client: Client) -> bool:
        """Take a client off; tell whether the list is another one now."""
        listed = client.connection_id in tuple(self._clients)[:MAX_LISTED]
        self._clients.pop(client.connection_id, None)
        return self._changed(listed)

    def entries(self) -> tuple[PresenceEntry, ...]:
        """Return the gateway and the first `MAX_LISTED` clients."""
        return (self._gateway, *tuple(self._clients.values())[:MAX_LISTED])

    def _changed(self, changed: bool) -> bool:
        self.version += changed
        return changed

    def _entry(self, client: Client) -> PresenceEntry:
        info = client.info
        host = info.display_name or info.id
        return PresenceEntry(
            host=host,
            ip=client.address or UNSET,
            version=info.version,
            platform=info.platform,
            device_family=info.device_family or UNSET,
            model_identifier=info.model_identifier or UNSET,
            mode=info.mode,
            reason="connect",
            text=f"{host} {info.version} ({info.mode})",
            ts=self._ms(),
            device_id=client.device_id or UNSET,
            roles=(ROLE,),
            scopes=tuple(sorted(client.scopes)),
            instance_id=info.instance_id or UNSET,
        )

    def _ms(self) -> int:
        return int(self._now() * 1000)
