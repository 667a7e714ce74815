"""An event on its way to many clients: encoded at most once for each version of the protocol.

What differs between connections is the number that each of them gives its events. It stands at the end of
the frame, so that the costly part, the payload, is made once and the same bytes go to everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from msgspec import UNSET, UnsetType

from openclaw_twisted.ws import frames
from openclaw_twisted.ws.frames import StateVersion

__all__ = ["Event"]


class Event:
    """Something to tell clients.

    `shape` gives the payload for a version of the protocol: `shape(speaks_4)`. With a `cap` it is for those
    clients only that have announced this capability; what goes to some only is not numbered. A cumulative
    event has a `key`: a newer one of the same key makes it obsolete, and is told as `whole` then, because
    its client has missed what came between.
    """

    __slots__ = ("_openings", "_shape", "_state_version", "cap", "key", "name", "numbered", "whole")

    def __init__(  # noqa: PLR0913 - most events have a name and a shape and nothing else
        self,
        name: str,
        shape: Callable[[bool], Any],
        *,
        cap: str | None = None,
        numbered: bool = True,
        key: Hashable = None,
        whole: Event | None = None,
        state_version: StateVersion | UnsetType = UNSET,
    ) -> None:
        self.name = name
        self.cap = cap
        self.numbered = numbered and cap is None
        self.key = key
        self.whole = whole
        self._shape = shape
        self._state_version = state_version
        self._openings: dict[bool, bytes] = {}

    def opening(self, *, speaks_4: bool) -> bytes:
        """Return the frame without its end: the same bytes object however often it is asked for."""
        opening = self._openings.get(speaks_4)
        if opening is None:
            opening = frames.opening(self.name, self._shape(speaks_4), self._state_version)
            self._openings[speaks_4] = opening
        return opening
