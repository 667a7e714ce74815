"""The WebSocket door: everything behind one resource, and what all its connections have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource

from openclaw_twisted import __version__
from openclaw_twisted.agents.directory import shown
from openclaw_twisted.auth.device_tokens import DeviceTokens
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.ws.behind import Behind
from openclaw_twisted.ws.broadcast import Broadcast
from openclaw_twisted.ws.connect import Client, Desk, Visitor
from openclaw_twisted.ws.dispatch import Dispatcher, Exchange
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.event_payloads import HealthBrief, Shutdown
from openclaw_twisted.ws.handshake import Handshake, Receiver, Reception, new_handshake
from openclaw_twisted.ws.hello import Greeting, HelloOk
from openclaw_twisted.ws.ledger import new_ledgers
from openclaw_twisted.ws.lobby import Lobby, Place
from openclaw_twisted.ws.method import Method
from openclaw_twisted.ws.presence import Presence
from openclaw_twisted.ws.pulse import Pulse
from openclaw_twisted.ws.refusal_log import RefusalLog
from openclaw_twisted.ws.session_news import SessionNews
from openclaw_twisted.ws.upgrade import Upgrade

if TYPE_CHECKING:
    from autobahn.twisted.websocket import WebSocketServerFactory

    from openclaw_twisted.ws.protocol import Connection

__all__ = ["AUTH_CHANGED_CLOSE", "GOODBYE_SECONDS", "SERVICE_RESTART_CLOSE", "WebSocketDoor"]

SERVICE_RESTART_CLOSE = 1012
AUTH_CHANGED_CLOSE = 4001
GOODBYE_SECONDS = 0.5
"""How long clients may take to answer that the gateway stops; who does not is hung up on."""


class WebSocketDoor:
    """Serves OpenClaw's WebSocket protocol.

    `host` is this machine's name, as people know it; `started_at` is when `clock` had the gateway started.
    """

    _log = Logger()

    def __init__(  # noqa: PLR0913 - what it works with, and two facts for those who come in
        self,
        clock: IReactorTime,
        *,
        behind: Behind,
        rules: Doorkeeping,
        tokens: DeviceTokens,
        host: str,
        started_at: float,
    ) -> None:
        limits = behind.loaded.settings.gateway.limits
        self._clock = clock
        self._limits = limits
        self._tokens = tokens
        self._started_at = started_at
        self._ledgers = new_ledgers(clock, limits)
        self._broadcast = Broadcast(clock, behind.runner, behind.now)
        self._news = SessionNews(
            behind.runner.sessions,
            behind.shown,
            self._broadcast.following,
            tell=self._broadcast.tell_followers,
        )
        self._presence = Presence(host=host, version=__version__, now=behind.now)
        self._pulse = Pulse(
            clock,
            self._broadcast,
            self._presence,
            health=self._health,
            tick_seconds=limits.tick_seconds,
        )
        lobby = Lobby(
            places=limits.max_unauthenticated_websockets,
            places_per_network=limits.max_unauthenticated_websockets_per_address,
        )
        self._upgrade = Upgrade(rules, lobby, self._connect)
        self._refusals = RefusalLog(clock)
        self._connections: set[Connection] = set()
        self._clients: dict[Connection, Client] = {}
        self._empty: Deferred[None] | None = None
        self.take(behind, rules)

    def take(self, behind: Behind, rules: Doorkeeping) -> None:
        """Serve what is behind, by these rules, from now on; clients who are in stay in.

        Where others are believed about who is there, everybody has to come in again.
        """
        before, self._upgrade.rules = self._upgrade.rules.gate, rules
        self._reception = Reception(
            desk=Desk(gate=rules.gate, tokens=self._tokens, now=behind.now),
            clock=self._clock,
            login_seconds=self._limits.websocket_login_seconds,
            refused=self._refusals.tell,
            dropped=behind.dropped,
        )
        self._greeting = Greeting(
            version=__version__,
            auth_mode=rules.gate.mode,
            directory=behind.directory,
            limits=self._limits,
            uptime_seconds=lambda: self._clock.seconds() - self._started_at,
        )
        self._news.shown = behind.shown
        self._behind = behind
        if "_dispatcher" in vars(self):
            self._dispatcher.take(self._every_method())
        if rules.gate.believes != before.believes:
            for connection in tuple(self._connections):
                connection.close(AUTH_CHANGED_CLOSE, "auth changed")

    @property
    def resource(self) -> IResource:
        """What to give upgrade requests to, whatever their path."""
        return self._upgrade

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods that are served."""
        return self._dispatcher.names

    @property
    def described(self) -> tuple[Method[Any], ...]:
        """The methods that are served, with the shapes of their params."""
        return self._dispatcher.methods

    @property
    def connections(self) -> int:
        """How many WebSockets are open, logged in or not."""
        return len(self._connections)

    def stop_accepting(self) -> None:
        """Answer 503 to whoever wants to connect from now on."""
        self._upgrade.accepting = False

    def close_all(self, code: int = SERVICE_RESTART_CLOSE, reason: str = "service restart") -> Deferred[None]:
        """Tell every client that the gateway stops, and wait until their connections are gone."""
        self.stop_accepting()
        self._news.stop()
        if not self._connections:
            return succeed(None)
        self._broadcast.tell(Event("shutdown", _shutdown))
        for connection in tuple(self._connections):
            connection.close(code, reason)
        self._empty = Deferred()
        hanging_up = self._clock.callLater(GOODBYE_SECONDS, self._hang_up)
        return self._empty.addCallback(lambda _: hanging_up.cancel() if hanging_up.active() else None)

    def close_where(self, leaves: Callable[[Client], bool], code: int, reason: str) -> int:
        """Close the connections of those clients that `leaves` is true of; return how many.

        After a change of the gateway's secret that is `AUTH_CHANGED_CLOSE` for whoever came in with it.
        """
        leaving = [connection for connection, client in self._clients.items() if leaves(client)]
        for connection in leaving:
            connection.close(code, reason)
        return len(leaving)

    def secret_changed(self, digest: bytes) -> None:
        """Close whoever came in with the old secret, or with a token that stood in for it."""
        self._tokens.rekey(digest)
        self.close_where(lambda _client: True, AUTH_CHANGED_CLOSE, "auth changed")

    def _hang_up(self) -> None:
        for connection in tuple(self._connections):
            connection.transport.abortConnection()

    @cached_property
    def _factory(self) -> WebSocketServerFactory:
        # With Autobahn behind it this module takes 6 MB, which whoever speaks HTTP alone does without.
        from openclaw_twisted.ws.protocol import new_factory

        return new_factory(self._clock, self._limits)

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(self._every_method())

    def _every_method(self) -> tuple[Method[Any], ...]:
        from openclaw_twisted.ws.families import every_method  # a megabyte; nobody calls before the upgrade

        return every_method(self._clock, self._behind, self._ledgers, self._presence, self._pulse)

    def _connect(self, visitor: Visitor, place: Place) -> Connection:
        from openclaw_twisted.ws.protocol import Connection

        def begin(connection: Connection) -> Handshake:
            def welcome(client: Client) -> tuple[HelloOk, Receiver]:
                place.leave()
                return self._welcome(connection, client)

            return new_handshake(
                wire=connection, visitor=visitor, reception=lambda: self._reception, welcome=welcome
            )

        def gone(connection: Connection) -> None:
            place.leave()
            self._forget(connection)

        connection = Connection(self._clock, self._limits, begin, gone, self._dropped)
        connection.factory = self._factory
        self._connections.add(connection)
        return connection

    def _welcome(self, connection: Connection, client: Client) -> tuple[HelloOk, Receiver]:
        connection.let_in()
        self._clients[connection] = client
        self._broadcast.join(connection, client)
        self._pulse.join(client)
        hello = self._greeting.to(client, self._dispatcher.names, self._pulse.state())
        return hello, Exchange(self._dispatcher, client, connection.send, connection.hold)

    def _health(self) -> HealthBrief:
        behind = self._behind
        return HealthBrief(ok=behind.is_well() or UNSET, ts=int(behind.now() * 1000))

    def _dropped(self, connection: Connection, reason: str) -> None:
        self._behind.dropped(reason)
        client = self._clients.get(connection)
        if client is not None:
            self._log.warn(
                "the WebSocket of {program} at {address} was closed: {reason}",
                program=shown(client.program),
                address=client.address,
                reason=reason,
                connection_id=client.connection_id,
            )

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        client = self._clients.pop(connection, None)
        if client is not None:
            self._broadcast.leave(connection)
            self._pulse.leave(client)
        if self._empty is not None and not self._connections:
            empty, self._empty = self._empty, None
            empty.callback(None)


def _shutdown(speaks_4: bool) -> Shutdown:
    return Shutdown(restart_expected_ms=UNSET if speaks_4 else None)
