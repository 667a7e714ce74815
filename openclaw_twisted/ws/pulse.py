"""What every client hears without asking: that the gateway is alive, how it is, and who is there.

    tick       every `tick_seconds`, also while answers stream: clients of version 3 leave without it
    health     every `HEALTH_SECONDS`, and when somebody asked how the gateway is, once a second at most
    presence   when the list of who is there has changed, gathered over `PRESENCE_SECONDS`

Nothing of it goes on while nobody is logged in.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from openclaw_twisted.ws.broadcast import Broadcast
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.event_payloads import HealthBrief, Present, Tick
from openclaw_twisted.ws.frames import StateVersion
from openclaw_twisted.ws.presence import Presence, PresenceEntry

__all__ = ["HEALTH_SECONDS", "PRESENCE_SECONDS", "Pulse", "State"]

HEALTH_SECONDS = 60.0
PRESENCE_SECONDS = 0.25
_LEAST_HEALTH_SECONDS = 1.0


class State(Struct, frozen=True, kw_only=True):
    """How things stand when a client comes."""

    presence: tuple[PresenceEntry, ...]
    health: HealthBrief
    version: StateVersion


class Pulse:
    """The timers, and the counts of what they tell; `health` says how the gateway is now."""

    def __init__(
        self,
        clock: IReactorTime,
        broadcast: Broadcast,
        presence: Presence,
        *,
        health: Callable[[], HealthBrief],
        tick_seconds: float,
    ) -> None:
        self._clock = clock
        self._brief = health
        self._broadcast = broadcast
        self._presence = presence
        self._tick_seconds = tick_seconds
        self._health_version = 1
        self._health_told_at = 0.0
        self._clients = 0
        self._tick_timer: IDelayedCall | None = None
        self._health_timer: IDelayedCall | None = None
        self._presence_timer: IDelayedCall | None = None

    @property
    def state_version(self) -> StateVersion:
        """How often the list of who is there has changed, and health has been told."""
        return StateVersion(self._presence.version, self._health_version)

    def join(self, client: Client) -> None:
        """Count a client in, and tell the others."""
        self._clients += 1
        if self._clients == 1:
            self._tick_timer = self._clock.callLater(self._tick_seconds, self._tick)
            self._health_timer = self._clock.callLater(HEALTH_SECONDS, self._health)
        if self._presence.join(client):
            self._tell_presence_soon()

    def leave(self, client: Client) -> None:
        """Count a client out, and tell the others; the last one ends it all."""
        self._clients -= 1
        changed = self._presence.leave(client)
        if self._clients:
            if changed:
                self._tell_presence_soon()
            return
        for timer in (self._tick_timer, self._health_timer, self._presence_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._presence_timer = None

    def brief(self) -> HealthBrief:
        """Return how the gateway is, in short."""
        return self._brief()

    def state(self) -> State:
        """Return how things stand."""
        return State(presence=self._presence.entries(), health=self.brief(), version=self.state_version)

    def asked_for_health(self) -> None:
        """Tell everybody how the gateway is, unless that has just been told."""
        if self._clock.seconds() - self._health_told_at >= _LEAST_HEALTH_SECONDS:
            self._tell_health()

    def _tick(self) -> None:
        self._tick_timer = self._clock.callLater(self._tick_seconds, self._tick)
        tick = Tick(self.brief().ts)
        self._broadcast.tell(Event("tick", lambda _speaks_4: tick))

    def _health(self) -> None:
        self._health_timer = self._clock.callLater(HEALTH_SECONDS, self._health)
        self._tell_health()

    def _tell_health(self) -> None:
        self._health_version += 1
        self._health_told_at = self._clock.seconds()
        brief = self.brief()
        self._broadcast.tell(Event("health", lambda _speaks_4: brief, state_version=self.state_version))

    def _tell_presence_soon(self) -> None:
        if self._presence_timer is None:
            self._presence_timer = self._clock.callLater(PRESENCE_SECONDS, self._tell_presence)

    def _tell_presence(self) -> None:
        self._presence_timer = None
        present = Present(self._presence.entries())
        self._broadcast.tell(Event("presence", lambda _speaks_4: present, state_version=self.state_version))
