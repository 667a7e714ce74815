"""One run's events as SSE on a live request: back-pressure, keep-alive, hang-up.

The stream is a producer for the client's connection and a listener on the run's feed. When the client
reads too slowly, Twisted says pause, the stream pauses its subscription, and with it the run and the
upstream socket. When the client is gone, Klein cancels the endpoint, which ends the wait in `carry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer

from openclaw_twisted.boundaries import Listener
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.events import RunEvent
from openclaw_twisted.runs.feed import Subscription
from openclaw_twisted.runs.run import Run
from openclaw_twisted.sse import COMMENT_KEEP_ALIVE

__all__ = ["EventEncoder", "EventStream"]

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class EventEncoder(Protocol):
    """A wire format for a run's events."""

    def opening(self) -> bytes:
        """Return what is sent before anything is known."""
        ...

    def encode(self, events: Sequence[RunEvent]) -> bytes:
        """Return the SSE events for a batch, possibly none."""
        ...


class _Droppable(Protocol):
    """A request whose connection can be aborted, with a reason."""

    def drop(self, reason: str) -> None: ...


@implementer(IPushProducer)
class EventStream:
    """An answer in pieces."""

    def __init__(
        self,
        request: Request,
        encoder: EventEncoder,
        *,
        clock: IReactorTime,
        keep_alive_seconds: float,
        stall_seconds: float,
    ) -> None:
        self._request = request
        self._encoder = encoder
        self._clock = clock
        self._keep_alive_seconds = keep_alive_seconds
        self._stall_seconds = stall_seconds
        self._stalled: IDelayedCall | None = None
        self._wrote_at = 0.0
        self._timer: IDelayedCall | None = None
        self._subscription: Subscription | None = None
        self._paused = False
        self._gone = False

    async def carry(self, run: Run, headers: dict[str, str]) -> None:
        """Send `run` to its end; a client that hangs up leaves the run, which ends it unless others wait."""
        run.join()
        self._request.notifyFinish().addErrback(self._lost)
        for name, value in (HEADERS | headers).items():
            self._request.setHeader(name, value)
        self._request.registerProducer(self, True)  # noqa: FBT003 - Twisted's signature
        self._write(self._encoder.opening())
        self._keep_alive()
        self._subscription = run.feed.subscribe(self)
        if self._paused:
            self._subscription.pause()
        try:
            await run.result()
        except GatewayError:
            pass  # the feed has told the client already
        finally:
            run.leave()  # first: a run that nobody holds up any more would go on meanwhile
            self._close()

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Write a batch with one write."""
        data = self._encoder.encode(events)
        if data:
            self._write(data)

    def pauseProducing(self) -> None:  # noqa: N802
        """Hold the run up: the client reads too slowly; if it takes nothing at all, it is dropped."""
        if self._paused:
            return  # Twisted says so at each write, and the time of a stall counts from the first
        self._paused = True
        self._stalled = self._clock.callLater(self._stall_seconds, self._drop)
        if self._subscription is not None:
            self._subscription.pause()

    def resumeProducing(self) -> None:  # noqa: N802
        """Let the run go on."""
        self._paused = False
        self._forgive()
        if self._subscription is not None:
            self._subscription.resume()

    def stopProducing(self) -> None:  # noqa: N802
        """Note that the client is gone; the cancelled endpoint does the rest."""
        self._gone = True

    def _drop(self) -> None:
        cast("_Droppable", self._request).drop("stalled_reader")

    def _forgive(self) -> None:
        if self._stalled is not None and self._stalled.active():
            self._stalled.cancel()

    def _lost(self, _reason: object) -> None:
        self._gone = True

    def _write(self, data: bytes) -> None:
        if not self._gone:
            self._request.write(data)
            self._wrote_at = self._clock.seconds()

    def _keep_alive(self) -> None:
        # One timer that looks at the last write, instead of one that every write would have to reset.
        if not self._keep_alive_seconds:
            return
        left = self._wrote_at + self._keep_alive_seconds - self._clock.seconds()
        if left <= 0:
            if not self._paused:
                self._write(COMMENT_KEEP_ALIVE)
            left = self._keep_alive_seconds
        self._timer = self._clock.callLater(left, self._keep_alive)

    def _close(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._forgive()
        if not self._gone:
            self._request.unregisterProducer()


_fits: type[Listener] = EventStream
