"""What stands where the WebSocket door will be until the first client comes.

The door and all that is behind it are loaded then: a megabyte that whoever speaks HTTP alone does without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from openclaw_twisted.auth.device_tokens import DeviceTokens
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.ws.behind import Behind

if TYPE_CHECKING:
    from openclaw_twisted.ws.door import WebSocketDoor

__all__ = ["WebSocketEntrance"]


class WebSocketEntrance:
    """Makes the door for the first client that comes; `host` is this machine's name, as people know it."""

    def __init__(
        self, clock: IReactorTime, *, behind: Behind, rules: Doorkeeping, tokens: DeviceTokens, host: str
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._host = host
        self._started_at = clock.seconds()
        self._accepting = True
        self._door: WebSocketDoor | None = None
        self.resource: IResource = _Knocks(self._open)
        self.take(behind, rules)

    def take(self, behind: Behind, rules: Doorkeeping) -> None:
        """Serve what is behind, by these rules, from now on; see `WebSocketDoor.take`."""
        self._behind, self._rules = behind, rules
        if self._door is not None:
            self._door.take(behind, rules)

    @property
    def connections(self) -> int:
        """How many WebSockets are open, logged in or not."""
        return self._door.connections if self._door is not None else 0

    def stop_accepting(self) -> None:
        """Answer 503 to whoever wants to connect from now on."""
        self._accepting = False
        if self._door is not None:
            self._door.stop_accepting()

    def close_all(self) -> Deferred[None]:
        """Tell every client that the gateway stops, and wait until their connections are gone."""
        self.stop_accepting()
        return self._door.close_all() if self._door is not None else succeed(None)

    def secret_changed(self, digest: bytes) -> None:
        """Close whoever came in with the old secret, or with a token that stood in for it."""
        if self._door is not None:
            self._door.secret_changed(digest)
        else:
            self._tokens.rekey(digest)

    def _open(self) -> IResource:
        if self._door is None:
            from openclaw_twisted.ws.door import WebSocketDoor

            self._door = WebSocketDoor(
                self._clock,
                behind=self._behind,
                rules=self._rules,
                tokens=self._tokens,
                host=self._host,
                started_at=self._started_at,
            )
            if not self._accepting:
                self._door.stop_accepting()
        return self._door.resource


class _Knocks(Resource):
    """Hands every request on to the door."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, door: Callable[[], IResource]) -> None:
        super().__init__()
        self._door = door

    def render(self, request: Request) -> Any:
        """Let the door answer."""
        return self._door().render(request)
