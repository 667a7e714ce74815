"""An upstream's answer on its way: bytes for those who ask, limits on silence, and one end or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from openclaw_twisted.errors import UpstreamError, UpstreamTimeoutError
from openclaw_twisted.providers.http_exchange import HttpResponse
from openclaw_twisted.providers.refusals import retry_after_seconds

__all__ = ["Answer", "Body", "Timeouts"]

HIGH_WATER_BYTES = 16 * 1024
DRAIN_SECONDS = 1.0

T = TypeVar("T")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long an upstream may be silent, in seconds: while connecting, before its first byte, after it."""

    connect_seconds: float = 10.0
    first_byte_seconds: float = 120.0
    idle_seconds: float = 120.0


class Body(TwistedProtocol):
    """An answer's body as bytes to ask for; nobody asking is what stops the socket from being read.

    The silence limit counts only while somebody waits: a slow reader of ours is not a slow upstream. One
    timer does for the whole answer, its head included: it looks, when it fires, how long the silence was.
    """

    transport: Any

    def __init__(self, clock: IReactorTime, timeouts: Timeouts, *, name: str, sent_at: float) -> None:
        self._clock = clock
        self._timeouts = timeouts
        self._name = name
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = False
        self._waiter: Deferred[bytes] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._asking: Deferred[Any] | None = None
        self._late = False
        self._ended: Failure | None = None
        self._began = False
        self._discard = False
        self._draining = False
        self._quiet_since = sent_at
        self._timer: IDelayedCall | None = None
        self._watcher: Callable[[UpstreamError | None], object] | None = None

    def expect(self, asking: Deferred[T]) -> Deferred[T]:
        """Return `asking`, the wait for the answer's head; too long a one fails as `read` does."""
        self._asking = asking
        self._arm()
        return asking.addBoth(self._asked)

    def arrived(self) -> bytes:
        """Return all that has arrived, `b""` when that is nothing."""
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        self._resume()
        return data

    def read(self) -> Deferred[bytes]:
        """Return all that has arrived, or wait for more; `b""` is the end.

        Fails with `UpstreamError` when the connection broke, `UpstreamTimeoutError` when the
        upstream was silent too long. Cancelling closes the connection.
        """
        return succeed(self.arrived()) if self._chunks else self._wait()

    def pour(self, sink: Callable[[bytes], bool]) -> Deferred[bytes]:
        """Call `sink` with each piece as it arrives, until it wants no more or the body ends, then fire.

        Fails as `read` does, or with what `sink` raises. Cancelling closes the connection.
        """
        if self._chunks and not sink(self.arrived()):
            return succeed(b"")
        self._sink = sink
        return self._wait()

    def _wait(self) -> Deferred[bytes]:
        waiter: Deferred[bytes] = Deferred(self._cancelled)
        self._waiter = waiter
        if self._ended is not None:
            self._conclude(self._ended)
        else:
            if self._began:
                self._quiet_since = self._clock.seconds()
            if self._timer is None:
                self._arm()
        return waiter

    def close(self) -> None:
        """Close the connection now, unless it is being drained: nobody wants the rest."""
        if not self._draining:
            self._abort()

    def drain(self) -> None:
        """Let the rest arrive (nothing is expected) so that the connection can be used again."""
        if self._ended is None:
            self._draining = self._discard = True
            self._resume()
            self._disarm()
            self._timer = self._clock.callLater(DRAIN_SECONDS, self._drained)

    def watch(self, watcher: Callable[[UpstreamError | None], object]) -> None:
        """Tell `watcher`, once, how the body ended: with an error, or well; nothing if we close it."""
        self._watcher = watcher
        if self._ended is not None:
            self._tell(self._ended)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the connection."""
        if self._discard:
            return
        if not self._began:
            self._began = True
            if self._timeouts.idle_seconds < self._timeouts.first_byte_seconds:
                self._disarm()  # the timer would look too late
        if self._sink is not None:
            self._quiet_since = self._clock.seconds()
            self._give(self._sink, data)
            return
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(data)
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held >= HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Note the end of the body, good or bad."""
        self._disarm()
        self._ended = reason
        self.transport = None
        self._tell(reason)
        if self._waiter is not None:
            self._conclude(reason)

    def _asked(self, result: T | Failure) -> T | Failure:
        self._asking = None
        if isinstance(result, Failure):
            self._disarm()
            if self._late:
                limit = self._timeouts.first_byte_seconds
                return Failure(
                    UpstreamTimeoutError(f"{self._name} did not answer within {limit:g} s. Try again.")
                )
        return result

    def _give(self, sink: Callable[[bytes], bool], data: bytes) -> None:
        try:
            wants_more = sink(data)
        except Exception:  # noqa: BLE001 - whoever pours hears of it; nothing is awaited
            failure = Failure()
            waiter = self._waited_for()
            if waiter is not None:
                waiter.errback(failure)
        else:
            waiter = None if wants_more else self._waited_for()
            if waiter is not None:
                waiter.callback(b"")

    def _waited_for(self) -> Deferred[bytes] | None:
        waiter, self._waiter = self._waiter, None
        self._sink = None
        return waiter

    def _tell(self, reason: Failure) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher(None if _is_good_end(reason) else self._broken_off())

    def _broken_off(self) -> UpstreamError:
        return UpstreamError(f"{self._name} broke off in the middle of its answer. Try again.")

    def _drained(self) -> None:
        self._timer = None
        self._abort()

    def _abort(self) -> None:
        self._watcher = None
        self._disarm()
        self._chunks.clear()
        self._discard = True
        if self._ended is None:
            self.transport.stopProducing()

    def _conclude(self, reason: Failure) -> None:
        waiter = self._waited_for()
        assert waiter is not None
        if _is_good_end(reason):
            waiter.callback(b"")
        else:
            waiter.errback(self._broken_off())

    def _cancelled(self, _waiter: Deferred[bytes]) -> None:
        self._waited_for()
        self.close()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._ended is None:
                self.transport.resumeProducing()

    def _arm(self) -> None:
        left = self._quiet_since + self._limit() - self._clock.seconds()
        self._timer = self._clock.callLater(max(left, 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._asking is not None:
            self._late = True
            self._asking.cancel()
            return
        if self._waiter is not None:
            self._look_at(self._waiter)

    def _look_at(self, waiter: Deferred[bytes]) -> None:
        if self._quiet_since + self._limit() > self._clock.seconds():
            self._arm()
            return
        self._waited_for()
        error = UpstreamTimeoutError(f"{self._name} was silent for {self._limit():g} s. Try again.")
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher(error)
        self.close()
        waiter.errback(error)

    def _limit(self) -> float:
        return self._timeouts.idle_seconds if self._began else self._timeouts.first_byte_seconds

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def _is_good_end(reason: Failure) -> bool:
    return isinstance(reason.value, ResponseDone | PotentialDataLoss)


class Answer:
    """An upstream's answer: the status, the headers, and the body still on its way.

    `secrets` are the values of the headers that the request carried: texts not to be passed on.
    """

    def __init__(self, response: HttpResponse, body: Body, *, secrets: tuple[str, ...] = ()) -> None:
        self.status = response.status
        self.header = response.header
        self.body = body
        self.secrets = secrets

    @property
    def retry_after(self) -> float | None:
        """How many seconds the server asks to wait before the next request; None if it does not say."""
        return retry_after_seconds(self.header(b"retry-after"), self.header(b"date"))

    async def read_at_most(self, limit_bytes: int) -> bytes:
        """Return the body's first `limit_bytes`; the connection is closed if there is more."""
        pieces: list[bytes] = []
        left = limit_bytes
        while left > 0:
            more = await self.body.read()
            if not more:
                return b"".join(pieces)
            pieces.append(more)
            left -= len(more)
        self.body.close()
        return b"".join(pieces)[:limit_bytes]
