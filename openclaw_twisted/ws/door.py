"""The WebSocket door: everything behind one resource, and what all its connections have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.resource import IResource

from openclaw_twisted import __version__
from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.broadcast import Broadcast
from openclaw_twisted.ws.connect import Client, Visitor
from openclaw_twisted.ws.dispatch import Dispatcher, Exchange
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.handshake import Handshake, Receiver, Reception, new_handshake
from openclaw_twisted.ws.hello import Greeting, HelloOk
from openclaw_twisted.ws.ledger import Ledger
from openclaw_twisted.ws.lobby import Lobby, Place
from openclaw_twisted.ws.method import Method
from openclaw_twisted.ws.methods.agent import AgentMethods
from openclaw_twisted.ws.methods.agents import agents_methods
from openclaw_twisted.ws.methods.chat import ChatMethods
from openclaw_twisted.ws.methods.health import health_methods
from openclaw_twisted.ws.methods.nothing import nothing_methods
from openclaw_twisted.ws.methods.wait import WaitMethods
from openclaw_twisted.ws.protocol import Connection, new_factory
from openclaw_twisted.ws.starting import Starter
from openclaw_twisted.ws.upgrade import Upgrade

__all__ = ["SERVICE_RESTART_CLOSE", "WebSocketDoor"]

SERVICE_RESTART_CLOSE = 1012


class WebSocketDoor:
    """Serves OpenClaw's WebSocket protocol; `now` gives seconds since the epoch."""

    def __init__(  # noqa: PLR0913 - a door needs what is behind it, who may come in, and the time
        self,
        clock: IReactorTime,
        *,
        runner: Runner,
        directory: Directory,
        rules: Doorkeeping,
        settings: Settings,
        now: Callable[[], float],
    ) -> None:
        limits = settings.gateway.limits
        started_at = clock.seconds()
        self._clock = clock
        self._limits = limits
        self._now = now
        self._factory = new_factory(clock, limits)
        self._reception = Reception(
            gate=rules.gate, clock=clock, now=now, login_seconds=limits.websocket_login_seconds
        )
        self._greeting = Greeting(
            version=__version__,
            auth_mode=rules.gate.mode,
            directory=directory,
            limits=limits,
            now=now,
            uptime_seconds=lambda: clock.seconds() - started_at,
        )
        self._dispatcher = Dispatcher(_methods(clock, runner, directory, settings, now))
        lobby = Lobby(
            places=limits.max_unauthenticated_websockets,
            places_per_network=limits.max_unauthenticated_websockets_per_address,
        )
        self._upgrade = Upgrade(rules, lobby, self._connect)
        self._connections: set[Connection] = set()
        self._clients: dict[Connection, Client] = {}
        self._broadcast = Broadcast(clock, runner, now)
        self._next_tick: IDelayedCall | None = None
        self._empty: Deferred[None] | None = None

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
        if not self._connections:
            return succeed(None)
        self._broadcast.tell(Event("shutdown", _shutdown))
        for connection in tuple(self._connections):
            connection.close(code, reason)
        self._empty = Deferred()
        return self._empty

    def _connect(self, visitor: Visitor, place: Place) -> Connection:
        def begin(connection: Connection) -> Handshake:
            def welcome(client: Client) -> tuple[HelloOk, Receiver]:
                place.leave()
                return self._welcome(connection, client)

            return new_handshake(wire=connection, visitor=visitor, reception=self._reception, welcome=welcome)

        def gone(connection: Connection) -> None:
            place.leave()
            self._forget(connection)

        connection = Connection(self._clock, self._limits, begin, gone)
        connection.factory = self._factory
        self._connections.add(connection)
        return connection

    def _welcome(self, connection: Connection, client: Client) -> tuple[HelloOk, Receiver]:
        connection.let_in()
        self._clients[connection] = client
        self._broadcast.join(connection, client)
        if self._next_tick is None:
            self._schedule_tick()
        hello = self._greeting.to(client, self._dispatcher.names)
        return hello, Exchange(self._dispatcher, client, connection.send)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._clients.pop(connection, None)
        self._broadcast.leave(connection)
        if not self._clients and self._next_tick is not None:
            self._next_tick.cancel()
            self._next_tick = None
        if self._empty is not None and not self._connections:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _schedule_tick(self) -> None:
        self._next_tick = self._clock.callLater(self._limits.tick_seconds, self._tick)

    def _tick(self) -> None:
        """Tell every client that we are alive: those of version 3 leave when they do not hear it."""
        self._schedule_tick()
        ts = int(self._now() * 1000)
        self._broadcast.tell(Event("tick", lambda _speaks_4: _Tick(ts)))


def _methods(
    clock: IReactorTime, runner: Runner, directory: Directory, settings: Settings, now: Callable[[], float]
) -> tuple[Method[Any], ...]:
    limits = settings.gateway.limits
    starter = Starter(
        runner=runner,
        directory=directory,
        now=now,
        timeout_seconds=settings.agents.defaults.timeout_seconds,
    )

    def ledger() -> Ledger:
        return Ledger(clock, keep_seconds=limits.idempotency_seconds, max_ended=limits.max_idempotency_keys)

    agent = AgentMethods(starter=starter, ledger=ledger())
    chat = ChatMethods(starter=starter, ledger=ledger())
    wait = WaitMethods(runner=runner, ledgers=(agent.ledger, chat.ledger), clock=clock)
    return (
        *health_methods(now),
        *agent.methods(),
        *chat.methods(),
        *wait.methods(),
        *agents_methods(directory),
        *nothing_methods(),
    )


class _Tick(Struct, frozen=True):
    ts: int


class _Shutdown(Struct, frozen=True, rename="camel"):
    reason: str = "gateway stopping"
    restart_expected_ms: UnsetType | None = UNSET


def _shutdown(speaks_4: bool) -> _Shutdown:
    return _Shutdown(restart_expected_ms=UNSET if speaks_4 else None)
