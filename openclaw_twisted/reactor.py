"""Twisted's epoll reactor, without what a turn of its loop takes and nobody here has a use for."""

from __future__ import annotations

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionFdescWentAway
from twisted.logger import Logger
from twisted.python import log

__all__ = ["GatewayReactor"]

LONGEST_WAIT_SECONDS = 3600.0

_WENT_AWAY = ConnectionFdescWentAway("the descriptor was closed by somebody else")

_log = Logger()


class GatewayReactor(EPollReactor):
    """Turns its loop once, and lets a descriptor that has something to read do so, in 10 calls instead of 29.

    14 of them surround the reading with the context that names the connection in messages of
    `twisted.python.log`; `twisted.logger`, which is used here, has no such context. 5 guard each turn of the
    loop anew and look for new timed calls a second time. Whatever else happens to a descriptor, and all that
    is due, is left to Twisted.
    """

    def mainLoop(self) -> None:  # noqa: N802 - Twisted's name
        """Serve until the reactor stops; what a turn raises is logged, and the next one follows."""
        while self._started:
            try:
                while self._started:
                    self.runUntilCurrent()
                    wait = self.timeout()
                    self.doIteration(self.running and wait)
            except BaseException:  # noqa: BLE001 - as Twisted's does
                _log.failure("Unexpected error in main loop.")
        _log.info("Main loop terminated.")

    def timeout(self) -> float | None:
        """Return how many seconds there are until something is due; None when nothing ever is."""
        if self._newTimedCalls or not self._pendingTimedCalls:
            return super().timeout()
        wait = self._pendingTimedCalls[0].time - self.seconds()
        return wait if 0 < wait < LONGEST_WAIT_SECONDS else super().timeout()

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
