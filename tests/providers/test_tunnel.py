"""CONNECT byte by byte, in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from openclaw_twisted.providers.tunnel import MAX_HEAD_BYTES, Proxy, Tunnel, TunnelRefusedError

__all__ = ["TunnelTests"]

OPEN = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"


@implementer(IStreamClientEndpoint)
class Wire:
    """An endpoint whose other side the test plays."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.protocol: Any = None

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803
        self.protocol = protocolFactory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


class Inner(Protocol):
    """What is meant for the other side."""

    transport: Any
    closed = False
    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True


class TunnelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire()

    def connect(self, proxy: Proxy = Proxy("proxy", 3128)) -> Deferred[Any]:  # noqa: B008 - frozen
        tunnel = Tunnel(self.clock, self.wire, request=proxy.headers(b"api.example.org:443"), seconds=10)
        return tunnel.connect(Factory.forProtocol(Inner))

    def say(self, data: bytes) -> None:
        self.wire.protocol.dataReceived(data)

    def test_it_asks_for_the_other_side_and_then_is_it(self) -> None:
        connecting = self.connect()
        asked = b"CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n"
        self.assertEqual(self.wire.transport.value(), asked)
        for byte in OPEN:
            self.assertNoResult(connecting)
            self.say(bytes([byte]))
        inner = self.successResultOf(connecting)
        self.say(b"hello")
        inner.transport.write(b"hi")
        self.assertEqual((inner.data, self.wire.transport.value()), (b"hello", asked + b"hi"))
        self.wire.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(inner.closed)

    def test_what_comes_with_the_proxys_answer_is_the_other_sides(self) -> None:
        connecting = self.connect()
        self.say(OPEN + b"hello")
        self.assertEqual(self.successResultOf(connecting).data, b"hello")

    def test_credentials(self) -> None:
        self.connect(Proxy("proxy", 3128, "ann:s3cret"))
        self.assertIn(b"\r\nProxy-Authorization: Basic YW5uOnMzY3JldA==\r\n", self.wire.transport.value())
        self.assertNotIn("s3cret", repr(Proxy("proxy", 3128, "ann:s3cret")))

    def test_whatever_is_not_let_through(self) -> None:
        for said, why in (
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407"),
            (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "answered 502"),
            (b"SSH-2.0\r\n\r\n", "does not speak HTTP"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES, "too long"),
        ):
            self.wire = Wire()
            connecting = self.connect()
            self.say(said)
            self.assertIn(why, self.failureResultOf(connecting, TunnelRefusedError).value.why)
            self.assertTrue(self.wire.transport.disconnected)

    def test_a_proxy_that_hangs_up(self) -> None:
        connecting = self.connect()
        self.wire.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertIn("hung up", self.failureResultOf(connecting, TunnelRefusedError).value.why)

    def test_a_proxy_that_says_nothing(self) -> None:
        connecting = self.connect()
        self.clock.advance(9.9)
        self.assertNoResult(connecting)
        self.clock.advance(0.1)
        self.failureResultOf(connecting, ConnectTimeoutError)
        self.assertTrue(self.wire.transport.disconnected)

    def test_whoever_gives_up_closes_the_connection(self) -> None:
        connecting = self.connect()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertTrue(self.wire.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
