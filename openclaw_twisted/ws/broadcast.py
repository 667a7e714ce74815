"""Events on their way to everybody who may hear them.

Nothing is listened to, and nothing made, as long as nobody is there: the first client that may read has the
runs that go on followed, and every one that starts from then on; the last one that leaves ends that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.auth.scopes import Scope, allows
from openclaw_twisted.runs.run import Run
from openclaw_twisted.runs.runner import Runner
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.relay import Relay
from openclaw_twisted.ws.subscriptions import Following, Subscriptions

__all__ = ["Addressee", "Broadcast"]


class Addressee(Protocol):
    """A connection as the broadcast sees it."""

    def post(self, event: Event, *, speaks_4: bool) -> None:
        """Send an event, now or when the client reads again; must neither block nor raise."""


class Broadcast:
    """The clients that are logged in, and the runs that they hear of; `now` gives seconds since the epoch."""

    def __init__(self, clock: IReactorTime, runner: Runner, now: Callable[[], float]) -> None:
        self._clock = clock
        self._runner = runner
        self._now = now
        self.following = Following()
        self._clients: dict[Addressee, Client] = {}
        self._followers: dict[Subscriptions, Addressee] = {}
        self._readers: set[Addressee] = set()
        self._relays: dict[str, Relay] = {}
        self._stop_watching: Callable[[], None] = lambda: None

    def join(self, connection: Addressee, client: Client) -> None:
        """Tell this client of what happens from now on."""
        self._clients[connection] = client
        self._followers[client.subscriptions] = connection
        client.subscriptions.join(self.following)
        if allows(client.scopes, Scope.READ):
            self._readers.add(connection)
            if len(self._readers) == 1:
                self._follow_runs()

    def leave(self, connection: Addressee) -> None:
        """Stop that; says nothing if the client never joined."""
        client = self._clients.pop(connection, None)
        if client is not None:
            client.subscriptions.leave()
            del self._followers[client.subscriptions]
        if connection in self._readers:
            self._readers.remove(connection)
            if not self._readers:
                self._leave_runs()

    def tell(self, event: Event) -> None:
        """Send an event to everybody."""
        for connection, client in tuple(self._clients.items()):
            connection.post(event, speaks_4=client.speaks_4)

    def tell_readers(self, event: Event) -> None:
        """Send an event to those clients that may read, and have the capability that it is for."""
        for connection in tuple(self._readers):
            client = self._clients.get(connection)
            if client is not None and (event.cap is None or event.cap in client.caps):
                connection.post(event, speaks_4=client.speaks_4)

    def tell_followers(self, event: Event, followers: Sequence[Subscriptions]) -> None:
        """Send an event to those clients whose subscriptions these are."""
        for subscriptions in followers:
            connection = self._followers.get(subscriptions)
            if connection is not None:
                connection.post(event, speaks_4=self._clients[connection].speaks_4)

    def _follow_runs(self) -> None:
        self._stop_watching = self._runner.watch(self._follow)
        for run in self._runner.active():
            self._follow(run)

    def _leave_runs(self) -> None:
        self._stop_watching()
        relays, self._relays = self._relays, {}
        for relay in relays.values():
            relay.leave()

    def _follow(self, run: Run) -> None:
        run_id = run.request.run_id
        self._relays[run_id] = Relay(
            run,
            self._clock,
            self._now,
            tell=self.tell_readers,
            gone=lambda: self._relays.pop(run_id, None),
        )
