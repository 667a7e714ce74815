"""Where connections are counted until they have logged in: so many in all, so many from one address.

Whoever has logged in needs no place any more; whoever is refused keeps theirs until the connection is gone,
so that refusals cannot be piled up.
"""

from __future__ import annotations

from collections import Counter

from openclaw_twisted.errors import OverloadedError

__all__ = ["Lobby", "Place"]

RETRY_AFTER_SECONDS = 5.0


class Place:
    """One connection's place."""

    def __init__(self, lobby: Lobby, network: str) -> None:
        self._lobby: Lobby | None = lobby
        self._network = network

    def leave(self) -> None:
        """Give the place back; saying it twice changes nothing."""
        lobby, self._lobby = self._lobby, None
        if lobby is not None:
            lobby.left(self._network)


class Lobby:
    """The places."""

    def __init__(self, *, places: int, places_per_network: int) -> None:
        self._places = places
        self._places_per_network = places_per_network
        self._taken: Counter[str] = Counter()

    def enter(self, network: str) -> Place:
        """Return a place for a connection from `network`; raises `OverloadedError` when there is none."""
        mine = self._taken[network] >= self._places_per_network
        if mine or self._taken.total() >= self._places:
            raise OverloadedError(
                f"Too many connections {'from this address ' if mine else ''}have not logged in yet. "
                "Log in on those, or try again soon.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        self._taken[network] += 1
        return Place(self, network)

    def left(self, network: str) -> None:
        """Count one connection less."""
        self._taken[network] -= 1
        if not self._taken[network]:
            del self._taken[network]
