"""Who changes a session tells it here, whoever shows sessions hears it here: within this process, at once.

A watcher that raises is a defect of that watcher: it is logged, and neither the others nor the one who
changed the session notice.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from openclaw_twisted.boundaries import SessionBus, SessionChange

__all__ = ["LocalBus"]

Watcher = Callable[[SessionChange], object]


class LocalBus:
    """The bus of one process."""

    _log = Logger()

    def __init__(self) -> None:
        self._watchers: dict[object, Watcher] = {}

    def announce(self, change: SessionChange) -> None:
        """Tell every watcher, in the order in which they came."""
        for watcher in tuple(self._watchers.values()):
            try:
                watcher(change)
            except Exception:  # noqa: BLE001  nothing is awaited here, and the change has happened
                self._log.failure("a watcher of sessions hit a defect at {reason}", reason=change.reason)

    def watch(self, callback: Watcher) -> Callable[[], None]:
        """Have `callback` called with every change from now on; call what is returned to stop that."""
        ticket = object()
        self._watchers[ticket] = callback

        def stop() -> None:
            self._watchers.pop(ticket, None)

        return stop


_proof: type[SessionBus] = LocalBus
