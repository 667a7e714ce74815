"""Readers of a stream that are slower than its model: what waits, who is waited for, and who is not."""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from openclaw_twisted.config.settings import LimitsSettings
from openclaw_twisted.events import RunEvent, TextDelta
from openclaw_twisted.http.outflow import Outflow
from openclaw_twisted.http.stream import WRITE_BYTES, EventStream
from openclaw_twisted.providers.scripted import Pause, reply
from tests.http.door import text_of
from tests.http.test_admission import Wire

__all__ = ["Pace", "Sockets"]

PIECES = [f"{at:04}" * 2500 for at in range(2000)]
"""20 MB, more than the kernel keeps for anybody."""
BATCHES = [
    *([TextDelta(piece) for piece in PIECES[at : at + 100]] for at in range(0, 2000, 100)),
    *reply("end"),
]
LIMITS = LimitsSettings(stream_buffer_bytes=1000, stream_stall_seconds=60)


class Line:
    """A connection as a stream sees it; `acked` is what the client has acknowledged."""

    bufferSize = 65536  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        self.acked: int | None = 0

    def getHandle(self) -> Line:
        return self

    def setsockopt(self, *_option: int) -> None:
        """Take any option."""

    def getsockopt(self, *_option: int) -> bytes:
        if self.acked is None:
            raise OSError
        return bytes(120) + struct.pack("@Q", self.acked) + bytes(100)


class Asked:
    """A request as a stream sees it: Twisted asks for a pause when more is unsent than fits."""

    def __init__(self) -> None:
        self.transport = Line()
        self.unsent = 0
        self.dropped: list[str] = []
        self.stream: Any = None

    def write(self, data: bytes) -> None:
        self.unsent += len(data)
        if self.unsent > self.transport.bufferSize:
            self.stream.pauseProducing()

    def drain(self) -> None:
        """Have all of it sent."""
        self.unsent = 0
        self.stream.resumeProducing()

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


class Text:
    """A wire format that is the text."""

    def opening(self) -> bytes:
        return b""

    def encode(self, event: Any) -> bytes:
        text: str = event.text
        return text.encode()

    def nothing(self) -> bytes:
        return b""


class Pace(SynchronousTestCase):
    """The stream between a batch and a reader, in the hands of a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked = Asked()
        self.stream = self.asked.stream = EventStream(
            cast("Request", self.asked), Text(), clock=self.clock, keep_alive_seconds=0, limits=LIMITS
        )

    def stall(self) -> None:
        self.asked.transport.bufferSize = 1000
        self.stream.run_events(batch(1, 2000))

    def test_a_batch_is_written_as_far_as_there_is_room(self) -> None:
        self.asked.transport.bufferSize = 1000
        self.stream.run_events(batch(3000, 100))
        self.assertLess(self.asked.unsent, 1000 + WRITE_BYTES + 100)
        written = 0
        while self.asked.unsent:
            written += self.asked.unsent
            self.asked.drain()
        self.assertEqual(written, 300_000)

    def test_a_reader_that_takes_nothing_is_dropped(self) -> None:
        for acked in (0, None):
            self.setUp()
            self.asked.transport.acked = acked
            self.stall()
            self.clock.pump([15] * 3)
            self.assertEqual(self.asked.dropped, [])
            self.clock.advance(15)
            self.assertEqual(self.asked.dropped, ["stalled_reader"])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_reader_that_takes_little_is_not(self) -> None:
        self.stall()
        for _ in range(100):
            self.asked.transport.acked = cast("int", self.asked.transport.acked) + 1
            self.clock.advance(50)
        self.assertEqual(self.asked.dropped, [])
        self.clock.pump([15] * 5)
        self.assertEqual(self.asked.dropped, ["stalled_reader"])

    def test_time_that_it_did_not_stall_does_not_count(self) -> None:
        self.stall()
        self.clock.advance(59)
        self.asked.drain()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.stream.run_events(batch(1, 2000))
        self.clock.advance(59)
        self.assertEqual(self.asked.dropped, [])


def batch(events: int, size: int) -> tuple[RunEvent, ...]:
    return tuple(TextDelta("x" * size) for _ in range(events))


class Sockets(Wire):
    """The same between real sockets."""

    async def test_a_slow_reader_gets_every_byte_and_the_rest_waits(self) -> None:
        pause = Pause()
        self.open([pause, *BATCHES])
        await self.assert_bounded(pause)

    async def test_so_does_one_that_comes_when_all_has_been_said(self) -> None:
        self.open(BATCHES)
        await self.assert_bounded()

    async def assert_bounded(self, pause: Pause | None = None) -> None:
        _, events = await self.stream()
        transport: Any = events.transport
        transport.pauseProducing()
        if pause is not None:
            pause.go_on()
        (channel,) = self.door.site._channels
        await self.until(lambda: channel.transport.producerPaused)
        self.assertEqual(len(self.door.runs.runner.active()), 1 if pause else 0)
        self.assertEqual(channel.transport.bufferSize, 65_536)
        waiting = len(channel.transport.dataBuffer) + channel.transport._tempDataLen
        self.assertLess(waiting, 65_536 + 2 * WRITE_BYTES)
        transport.resumeProducing()
        heard = await events.rest()
        self.assertEqual(heard[-1], "data: [DONE]")
        self.assertEqual(text_of(heard), "".join(PIECES) + "end")

    async def test_the_kernel_tells_what_a_client_has_taken(self) -> None:
        self.open()
        raw = await self.connect()
        assert raw.transport is not None
        await self.until(lambda: self.door.connections)
        (channel,) = self.door.site._channels
        outflow = Outflow(channel.transport)
        before = outflow.taken()
        if before is None:
            self.skipTest("this kernel does not tell")
        channel.transport.write(b"x" * 1000)
        await self.until(lambda: outflow.taken() == before + 1000)
        await self.until(lambda: len(raw.received) == 1000)  # the kernel has it before who reads it has
        outflow.limit(9999)
        lowat = channel.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        self.assertEqual((channel.transport.bufferSize, lowat), (9999, 16_384))
        outflow.release()
        self.assertEqual(channel.transport.bufferSize, 65_536)
        raw.transport.loseConnection()
