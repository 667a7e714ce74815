"""Twisted's epoll reactor, without what it does at each event for loggers that nobody uses here."""

from __future__ import annotations

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionFdescWentAway
from twisted.python import log

__all__ = ["GatewayReactor"]

_WENT_AWAY = ConnectionFdescWentAway("the descriptor was closed by somebody else")


class GatewayReactor(EPollReactor):
    """Lets a descriptor that has something to read, and nothing else, do so at once.

    Twisted surrounds that with the context that names the connection in messages of `twisted.python.log`, in
    13 of the 77 calls of a chunk that comes alone. `twisted.logger`, which is used here, has no such context.
    Whatever else happens to a descriptor is left to Twisted.
    """

    def doPoll(self, timeout: float | None) -> None:  # noqa: N802 - Twisted's name
        """Wait for `timeout` seconds at most, or for good, and serve all that have something to do."""
        descriptors = self._selectables
        for number, event in self._poller.poll(timeout):
            descriptor = descriptors.get(number)
            if descriptor is None:
                continue  # what came before it in the list has closed it
            if event != self._POLL_IN:
                log.callWithLogger(descriptor, self._doReadOrWrite, descriptor, number, event)
                continue
            try:
                lost = descriptor.doRead() if descriptor.fileno() != -1 else _WENT_AWAY
            except BaseException as error:  # noqa: BLE001 - whatever a protocol raises ends its connection alone
                log.err()
                log.callWithLogger(descriptor, self._disconnectSelectable, descriptor, error, isRead=False)
            else:
                if lost:
                    log.callWithLogger(descriptor, self._disconnectSelectable, descriptor, lost, isRead=True)

    doIteration = doPoll  # noqa: N815 - what the loop calls
