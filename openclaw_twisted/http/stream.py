"""One run's events as SSE on a live request: back-pressure, keep-alive, hang-up.

The stream is a producer for the client's connection and a listener on the run's feed. When the client
reads too slowly, Twisted says pause, the stream pauses its subscription, and with it the run and the
upstream socket. What the run had said by then is kept as events and encoded when the client goes on, because
an event is a fraction of its wire form. When the client is gone, its endpoint is cancelled, which ends the
wait in `carry`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer

from openclaw_twisted.boundaries import Listener
from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.events import ModelAnswering, RunEvent
from openclaw_twisted.http.outflow import Outflow
from openclaw_twisted.runs.feed import Subscription
from openclaw_twisted.runs.run import Run
from openclaw_twisted.sse import commented

__all__ = ["MODEL_USED", "EventEncoder", "EventStream", "model_used", "printable"]

MODEL_USED = "x-openclaw-model-used"
"""The header, and in a stream the comment, that names the model that answers."""

KEEP_ALIVE = "keep-alive"

# How much is encoded at once; between two of these the connection may say that it has enough.
WRITE_BYTES = 16 * 1024
LOOKS_PER_STALL = 4

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

    def encode(self, event: RunEvent) -> bytes:
        """Return the SSE events for an event of the run, possibly none."""
        ...

    def nothing(self) -> bytes:
        """Return what stands behind a comment: an SSE event that tells nothing new, or a blank line."""
        ...


class _Asked(Protocol):
    """What a request can do here besides what Twisted's can."""

    def drop(self, reason: str) -> None:
        """Abort the connection; `reason` is what this is counted under."""
        ...

    def in_pieces(self) -> Callable[[bytes], object]:
        """Return what sends the rest of an answer."""
        ...


def model_used(event: ModelAnswering, nothing: Callable[[], bytes]) -> bytes:
    """Return the comment for a stream's reader who asked for another model; the headers left before."""
    if event.instead_of is None:
        return b""
    return commented(f"{MODEL_USED} {printable(event.model)}", nothing())


def printable(model: str) -> str:
    """Return a model's name as a header or a comment can hold it: `x-openclaw-model` takes any text."""
    if model.isascii() and model.isprintable():
        return model
    return "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in model)


@implementer(IPushProducer)
class EventStream:
    """An answer in pieces."""

    __slots__ = (
        "_all_written",
        "_clock",
        "_encoder",
        "_gone",
        "_keep_alive_seconds",
        "_limits",
        "_outflow",
        "_paused",
        "_request",
        "_send",
        "_stalled",
        "_subscription",
        "_taken",
        "_taken_at",
        "_timer",
        "_unwritten",
        "_wrote_at",
    )

    def __init__(
        self,
        request: Request,
        encoder: EventEncoder,
        *,
        clock: IReactorTime,
        keep_alive_seconds: float,
        limits: LimitsSettings,
    ) -> None:
        self._request = request
        self._encoder = encoder
        self._clock = clock
        self._keep_alive_seconds = keep_alive_seconds
        self._limits = limits
        self._stalled: IDelayedCall | None = None
        self._outflow = Outflow(request.transport)
        self._send: Callable[[bytes], object] = request.write
        self._taken: int | None = None
        self._taken_at = 0.0
        self._unwritten: list[RunEvent] = []
        self._all_written: Deferred[None] | None = None
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
        self._outflow.limit(self._limits.stream_buffer_bytes)
        self._request.registerProducer(self, True)  # noqa: FBT003 - Twisted's signature
        self._write(self._encoder.opening())
        self._send = cast("_Asked", self._request).in_pieces()
        self._keep_alive()
        self._subscription = run.feed.subscribe(self)
        if self._paused:
            self._subscription.pause()
        try:
            await self._end_of(run)
        finally:
            run.leave()  # first: a run that nobody holds up any more would go on meanwhile
            self._close()

    def run_events(self, events: Sequence[RunEvent]) -> None:
        """Write a batch as far as the client's pace allows, and keep the rest."""
        if self._unwritten or self._paused:
            self._unwritten += events
        elif len(events) == 1:
            self._write(self._encoder.encode(events[0]))
        else:
            self._write_all(events)

    def pauseProducing(self) -> None:  # noqa: N802
        """Hold the run up: the client reads too slowly; if it takes nothing at all, it is dropped."""
        if self._paused:
            return  # Twisted says so at each write, and the time of a stall counts from the first
        self._paused = True
        self._taken, self._taken_at = self._outflow.taken(), self._clock.seconds()
        self._look_later()
        if self._subscription is not None:
            self._subscription.pause()

    def resumeProducing(self) -> None:  # noqa: N802
        """Write what was kept, and let the run go on."""
        self._paused = False
        self._forgive()
        self._write_on()
        if self._subscription is not None and not self._paused:
            self._subscription.resume()

    def stopProducing(self) -> None:  # noqa: N802
        """Note that the client is gone; the cancelled endpoint does the rest."""
        self._gone = True

    async def _end_of(self, run: Run) -> None:
        with contextlib.suppress(GatewayError):  # the feed has told the client already
            await run.result()
        if self._unwritten and not self._gone:
            self._all_written = Deferred()
            await self._all_written

    def _write_all(self, events: Sequence[RunEvent]) -> None:
        """Write events, and keep what is left of them when the connection has enough."""
        encode = self._encoder.encode
        pieces: list[bytes] = []
        size = 0
        for at, event in enumerate(events, start=1):
            piece = encode(event)
            pieces.append(piece)
            size += len(piece)
            if size >= WRITE_BYTES:
                self._write(b"".join(pieces))
                pieces.clear()
                size = 0
                if self._paused or self._gone:
                    self._unwritten = list(events[at:])
                    return
        self._write(b"".join(pieces))

    def _write_on(self) -> None:
        if self._unwritten and not (self._paused or self._gone):
            unwritten, self._unwritten = self._unwritten, []
            self._write_all(unwritten)
        if self._all_written is not None and not self._unwritten:
            written, self._all_written = self._all_written, None
            written.callback(None)

    def _look_later(self) -> None:
        self._stalled = self._clock.callLater(self._limits.stream_stall_seconds / LOOKS_PER_STALL, self._look)

    def _look(self) -> None:
        """Drop the client if it has taken nothing for long; its connection resumes only when all is sent."""
        taken, now = self._outflow.taken(), self._clock.seconds()
        if taken != self._taken:
            self._taken, self._taken_at = taken, now
        if now - self._taken_at >= self._limits.stream_stall_seconds:
            cast("_Asked", self._request).drop("stalled_reader")
        else:
            self._look_later()

    def _forgive(self) -> None:
        if self._stalled is not None and self._stalled.active():
            self._stalled.cancel()

    def _lost(self, _reason: object) -> None:
        self._gone = True

    def _write(self, data: bytes) -> None:
        if data and not self._gone:
            self._send(data)
            self._wrote_at = self._clock.seconds()

    def _keep_alive(self) -> None:
        # One timer that looks at the last write, instead of one that every write would have to reset.
        if not self._keep_alive_seconds:
            return
        left = self._wrote_at + self._keep_alive_seconds - self._clock.seconds()
        if left <= 0:
            if not self._paused:
                self._write(commented(KEEP_ALIVE, self._encoder.nothing()))
            left = self._keep_alive_seconds
        self._timer = self._clock.callLater(left, self._keep_alive)

    def _close(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._forgive()
        self._outflow.release()
        if not self._gone:
            self._request.unregisterProducer()


_fits: type[Listener] = EventStream
