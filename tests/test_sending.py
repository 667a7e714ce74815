"""Sending at once, over real sockets."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw_twisted.sending import send_now
from openclaw_twisted.testing import real_reactor

MUCH = bytes(range(256)) * 4096 * 4


class Lost(Protocol):
    def __init__(self) -> None:
        self.lost: Deferred[bool] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(bool(reason.check(ConnectionLost)))


class OverASocket(TestCase):
    timeout = 10

    def setUp(self) -> None:
        ours, self.peer = socket.socketpair()
        for each in (ours, self.peer):
            each.setblocking(False)  # noqa: FBT003 - the standard library's signature
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.protocol = Lost()
        self.transport: Any = Connection(ours, self.protocol, real_reactor())
        self.transport.connected = True
        self.addCleanup(self._close)

    def _close(self) -> None:
        self.peer.close()
        if not self.transport.disconnected:
            self.transport.stopReading()
            self.transport.stopWriting()
            self.transport.socket.close()

    async def received(self, size: int) -> bytes:
        """Read what the peer gets, letting the reactor turn meanwhile."""
        data = b""
        while len(data) < size:
            try:
                data += self.peer.recv(65536)
            except BlockingIOError:
                turn: Deferred[None] = Deferred()
                real_reactor().callLater(0, turn.callback, None)
                await turn
        return data

    def test_it_is_there_before_the_reactor_turns(self) -> None:
        send_now(self.transport, b"hello")
        self.assertEqual(self.peer.recv(100), b"hello")

    async def test_what_the_socket_does_not_take_follows_in_order(self) -> None:
        send_now(self.transport, MUCH)
        send_now(self.transport, b"and this")
        self.assertEqual(await self.received(len(MUCH) + 8), MUCH + b"and this")

    async def test_what_was_queued_before_comes_first(self) -> None:
        self.transport.write(b"first ")
        send_now(self.transport, b"second")
        self.assertEqual(await self.received(12), b"first second")

    async def test_a_full_queue_holds_the_producer_up(self) -> None:
        said: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                said.append("pause")

            def resumeProducing(self) -> None:
                said.append("resume")

            def stopProducing(self) -> None: ...

        self.transport.registerProducer(Producer(), True)  # noqa: FBT003 - Twisted's signature
        send_now(self.transport, MUCH)
        self.assertEqual(said, ["pause"])
        await self.received(len(MUCH))
        self.assertEqual(said, ["pause", "resume"])

    async def test_a_broken_connection_is_found_by_the_reactor(self) -> None:
        self.peer.close()
        send_now(self.transport, b"hello")
        self.assertTrue(await self.protocol.lost)


class OverAnythingElse(SynchronousTestCase):
    def test_it_is_written(self) -> None:
        transport = StringTransport()
        send_now(transport, b"hello")
        self.assertEqual(transport.value(), b"hello")
