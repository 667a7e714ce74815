"""One WebSocket connection: Autobahn carries the frames, the handshake and the exchange know what they mean.

What a client does not read in time waits here, where it is counted: as long as Twisted says that the socket's
buffer is full, frames are queued, and a client with too much in its queue is closed as a slow consumer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.handshake import Handshake, Wire
from openclaw_twisted.ws.outbox import Outbox

__all__ = ["Connection", "new_factory"]

CLOSE_TIMEOUT_SECONDS = 2.0
SLOW_CONSUMER_CLOSE = 1008
MAX_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame has 125, the code takes two
PING_BYTES = 12  # the least that Autobahn can tell its own pings by

_TEXT = 1  # the opcode
_LEFTOVERS = ("http_headers", "http_request_data", "http_request_params", "http_response_data")


class _Timer:
    """Autobahn's timers on the clock that we are given; its own are on the global reactor."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def call_later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> IDelayedCall:
        return self._clock.callLater(seconds, call, *arguments)


def new_factory(clock: IReactorTime, limits: LimitsSettings) -> WebSocketServerFactory:
    """Return the options that all connections share."""
    factory = WebSocketServerFactory(reactor=clock, server="")
    factory.setProtocolOptions(
        versions=[13],
        webStatus=False,
        failByDrop=False,
        openHandshakeTimeout=0,  # the deadline of the login covers it
        closeHandshakeTimeout=CLOSE_TIMEOUT_SECONDS,
        autoPingInterval=limits.websocket_ping_seconds,
        autoPingTimeout=limits.websocket_ping_seconds,
        autoPingSize=PING_BYTES,
    )
    factory._batched_timer = _Timer(clock)  # noqa: SLF001 - there is no option for it
    return factory


@implementer(IPushProducer)
class Connection(WebSocketServerProtocol):
    """The server's end of a connection.

    `begin` makes the handshake that belongs to it, `gone` is called when the connection is, `dropped` when a
    limit has ended it, with the reason.
    """

    transport: Any
    # Autobahn's own log repeats what a peer sent; what matters is logged where it is decided.
    log = make_logger(level="error")

    def __init__(
        self,
        clock: IReactorTime,
        limits: LimitsSettings,
        begin: Callable[[Connection], Handshake],
        gone: Callable[[Connection], None],
        dropped: Callable[[Connection, str], object] = lambda _connection, _reason: None,
    ) -> None:
        super().__init__()
        self.maxMessagePayloadSize = limits.max_login_payload_bytes
        self._clock = clock
        self._limits = limits
        self._handshake = begin(self)
        self._gone = gone
        self._dropped = dropped
        self._outbox = Outbox(
            self._write_frame,
            self._give_up,
            soft_bytes=limits.soft_buffer_bytes,
            hard_bytes=limits.max_buffered_bytes,
        )
        self._last_resort: IDelayedCall | None = None

    def let_in(self) -> None:
        """Take messages of full size from now on: the client has logged in."""
        self.maxMessagePayloadSize = self._limits.max_payload_bytes
        for leftover in _LEFTOVERS:  # nobody asks again, and thousands of connections may stay for days
            self.__dict__.pop(leftover, None)

    def send(self, frame: bytes) -> None:
        """Send one text frame; does nothing once the connection is closing."""
        if self.state == self.STATE_OPEN:
            self._outbox.send(frame)

    def hold(self) -> None:
        """Hold events back until the next frame that is sent."""
        self._outbox.hold()

    def post(self, event: Event, *, speaks_4: bool) -> None:
        """Send an event; does nothing once the connection is closing."""
        if self.state == self.STATE_OPEN:
            self._outbox.post(event, speaks_4=speaks_4)

    def close(self, code: int, reason: str) -> None:
        """Begin to close the connection, behind what was sent; nothing that comes in counts any more."""
        if self.state != self.STATE_OPEN:
            return
        self._outbox.flush()
        # A reason that is cut inside a character would be no UTF-8.
        told = reason.encode()[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
        self.sendCloseFrame(code=code, reasonUtf8=told or None)

    def connectionMade(self) -> None:  # noqa: N802 - Autobahn's names, and Twisted's
        """Take the connection, and have its socket tell us when it is full."""
        self.transport.registerProducer(self, streaming=True)
        super().connectionMade()

    def onOpen(self) -> None:  # noqa: N802
        """Greet whoever is there."""
        self._handshake.open()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """Take a frame; JSON in a binary frame is as good as in a text frame."""
        if self.state == self.STATE_OPEN:
            self._handshake.receive(payload)

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        """Answer a ping, unless the peer does not read: its pings shall not fill our memory."""
        if not self._outbox.paused:
            super().onPing(payload)

    def dropConnection(self, abort: bool = False) -> None:  # noqa: N802
        """End the connection; a peer that does not read what is left gets a moment, not for ever."""
        if not abort and self._last_resort is None:
            self._last_resort = self._clock.callLater(CLOSE_TIMEOUT_SECONDS, self.transport.abortConnection)
        super().dropConnection(abort)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell everybody that the connection is gone."""
        super().connectionLost(reason)
        for timer in (self._last_resort, self.closeHandshakeTimeoutCall):  # Autobahn lets its own run
            if timer is not None and timer.active():
                timer.cancel()
        if self.localCloseCode == self.CLOSE_STATUS_CODE_MESSAGE_TOO_BIG:
            self._dropped(self, "large_message")
        self._outbox.clear()
        self._handshake.lose()
        self._gone(self)

    def pauseProducing(self) -> None:  # noqa: N802
        """Queue frames from now on: the client reads too slowly."""
        self._outbox.pause()

    def resumeProducing(self) -> None:  # noqa: N802
        """Send what is queued, as far as it goes."""
        self._outbox.resume()

    def stopProducing(self) -> None:  # noqa: N802
        """Nothing is left to stop: `connectionLost` follows."""

    def _give_up(self) -> None:
        self._dropped(self, "slow_consumer")
        self.close(SLOW_CONSUMER_CLOSE, "slow consumer")

    def _write_frame(self, frame: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.sendFrame(opcode=_TEXT, payload=frame)


_fits: type[Wire] = Connection
