"""The client that requests to providers go out with, against a server in memory."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from twisted.web.client import URI, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from openclaw_twisted.providers.http_agent import HttpAgent, Ways, _Connections, _Secured
from openclaw_twisted.providers.http_exchange import (
    ACKNOWLEDGED_SECONDS,
    MAX_HEAD_BYTES,
    BadResponseError,
    RequestHead,
)
from openclaw_twisted.providers.tunnel import Proxy
from openclaw_twisted.testing import real_reactor

URL = b"http://upstream.example:8080/v1/chat?x=1"
KEY = Headers({"X-Key": ["k"]})
HEAD = b"POST /v1/chat?x=1 HTTP/1.1\r\nHost: upstream.example:8080\r\nX-Key: k\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: yes\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n4\r\n all\r\n0\r\n\r\n"


class Wire(StringTransport):
    """The server's end of a connection: what it was sent, and what became of it."""

    protocol: Any = None
    socket: Any = None
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose(ConnectionLost())

    def loseConnection(self) -> None:
        super().loseConnection()
        self.lose(ConnectionDone())

    def say(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def lose(self, why: Exception) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(why))


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Server:
    """Every origin leads here; `wires` holds the connections in the order in which they were made."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.origins: list[bytes] = []
        self.connecting: Deferred[Any] | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        self.origins.append(uri.netloc)
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        wire = Wire()
        wire.protocol = factory.buildProtocol(None)
        wire.protocol.makeConnection(wire)
        self.wires.append(wire)
        return succeed(wire.protocol)


class Reader(Protocol):
    """Takes a body: the pieces it came in, and how it ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Nameless(MemoryReactorClock):
    """A reactor that looks names up only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.receivers: list[Any] = []
        self.names: list[str] = []

    def resolveHostName(self, *args: Any, **kwargs: Any) -> Any:
        self.receivers.append(args[0])
        self.names.append(args[1])


class AgentCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.agent = HttpAgent(self.clock, self.server, keep_at_most=2, keep_seconds=50)

    def ask(self, url: bytes = URL, headers: Headers = KEY) -> Deferred[Any]:
        return self.agent.send(RequestHead(b"POST", url, headers), b"{}")

    def read(self, response: Any) -> Reader:
        reader = Reader()
        response.deliverBody(reader)
        return reader

    def exchange(self, answer: bytes = PLAIN) -> Reader:
        """Ask, and let the newest connection answer."""
        asking = self.ask()
        self.server.wires[-1].say(answer)
        return self.read(self.successResultOf(asking))


class Asking(AgentCase):
    def test_head_and_body_leave_in_one_write(self) -> None:
        written: list[bytes] = []
        self.exchange()
        self.server.wires[0].write = written.append  # type: ignore[method-assign]
        self.ask()
        self.assertEqual(
            written,
            [HEAD + b"Content-Length: 2\r\n\r\n{}"],
        )

    def test_what_would_break_the_request_line_is_refused(self) -> None:
        for url in (b"http://a/b c", b"http://a/b\r\nX: y", b"http://a/\xc3\xa9", b""):
            with self.subTest(url=url), self.assertRaises(ValueError):
                self.ask(url)
        self.assertEqual(self.server.wires, [])

    def test_a_header_cannot_bring_another_one(self) -> None:
        self.ask(headers=Headers({"X-Key": ["k\r\nX-Evil: yes"]}))
        self.assertNotIn(b"\r\nX-Evil", self.server.wires[0].value())

    def test_neither_fragment_nor_password_is_sent(self) -> None:
        self.ask(b"http://user:secret@upstream.example/v1#here")
        head = self.server.wires[0].value().partition(b"X-Key")[0]
        self.assertEqual(head, b"POST /v1 HTTP/1.1\r\nHost: upstream.example\r\n")

    def test_a_host_of_its_own_is_the_only_one(self) -> None:
        self.ask(headers=Headers({"Host": ["front.example"]}))
        head = self.server.wires[0].value()
        self.assertEqual(head.count(b"Host: "), 1)
        self.assertIn(b"\r\nHost: front.example\r\n", head)

    def test_an_address_without_a_path(self) -> None:
        self.ask(b"http://upstream.example")
        self.assertTrue(self.server.wires[0].value().startswith(b"POST / HTTP/1.1\r\n"))


class Answers(AgentCase):
    def test_a_whole_answer(self) -> None:
        asking = self.ask()
        self.server.wires[0].say(PLAIN)
        response = self.successResultOf(asking)
        reader = self.read(response)
        self.assertEqual((response.status, response.header(b"x-seen")), (200, "yes"))
        self.assertEqual(reader.pieces, [b"hi"])
        assert reader.ended is not None
        self.assertIsNotNone(reader.ended.check(ResponseDone))

    def test_what_one_read_brings_of_a_body_comes_in_one_piece(self) -> None:
        self.assertEqual(self.exchange(CHUNKED).pieces, [b"hi all"])

    @settings(max_examples=200, deadline=None)
    @given(cuts=st.sets(st.integers(1, len(CHUNKED) - 1)))
    def test_however_it_is_cut(self, cuts: set[int]) -> None:
        self.setUp()
        asking, reader = self.ask(), Reader()
        asking.addCallback(lambda response: response.deliverBody(reader))
        places = [0, *sorted(cuts), len(CHUNKED)]
        for begin, end in pairwise(places):
            self.server.wires[0].say(CHUNKED[begin:end])
        self.assertEqual(b"".join(reader.pieces), b"hi all")
        assert reader.ended is not None
        self.assertIsNotNone(reader.ended.check(ResponseDone))

    def test_news_before_the_answer_is_passed_over(self) -> None:
        asking = self.ask()
        self.server.wires[0].say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n")
        self.assertNoResult(asking)
        self.server.wires[0].say(PLAIN)
        response = self.successResultOf(asking)
        self.assertIsNone(response.header(b"link"))
        self.assertEqual(self.read(response).pieces, [b"hi"])

    def test_trailers_are_no_headers_and_not_kept(self) -> None:
        asking = self.ask()
        wire = self.server.wires[0]
        wire.say(CHUNKED.replace(b"0\r\n", b"0\r\nX-First: 1\r\n")[:-2])
        response = self.successResultOf(asking)
        wire.say(b"X-Last: 2\r\n")
        self.assertEqual(wire.protocol._fields, {})
        wire.say(b"\r\n")
        self.assertEqual(self.read(response).pieces, [b"hi all"])
        self.assertEqual([response.header(name) for name in (b"x-first", b"x-last")], [None, None])

    def test_names_in_any_case_and_the_last_of_two(self) -> None:
        asking = self.ask()
        self.server.wires[0].say(PLAIN.replace(b"X-Seen: yes", b"X-sEEN: no\r\nX-sEEN: yes"))
        self.assertEqual(self.successResultOf(asking).header(b"x-seen"), "yes")

    def test_a_body_that_ends_with_the_connection(self) -> None:
        reader = self.exchange(b"HTTP/1.1 200 OK\r\n\r\nhi")
        self.assertIsNone(reader.ended)
        self.server.wires[0].lose(ConnectionDone())
        assert reader.ended is not None
        self.assertIsNotNone(reader.ended.check(PotentialDataLoss))

    def test_a_body_that_breaks_off(self) -> None:
        for head in (b"Content-Length: 9", b"Transfer-Encoding: chunked"):
            reader = self.exchange(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n3\r\nabc")
            self.server.wires[-1].lose(ConnectionDone())
            assert reader.ended is not None
            self.assertIsNotNone(reader.ended.check(ResponseFailed), head)

    def test_a_connection_that_is_lost_before_the_answer(self) -> None:
        asking = self.ask()
        self.server.wires[0].lose(ConnectionLost())
        self.failureResultOf(asking, ResponseNeverReceived)

    def test_a_connection_that_is_lost_in_the_head(self) -> None:
        asking = self.ask()
        self.server.wires[0].say(b"HTTP/1.1 200")
        self.server.wires[0].lose(ConnectionLost())
        self.failureResultOf(asking, ResponseFailed)

    def test_what_is_not_http(self) -> None:
        for answer in (
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES,
        ):
            with self.subTest(answer=answer[:20]):
                asking = self.ask()
                self.server.wires[-1].say(answer)
                failure = self.failureResultOf(asking, ResponseFailed)
                self.assertIsNotNone(failure.value.reasons[0].check(BadResponseError))
                self.assertTrue(self.server.wires[-1].aborted)

    def test_garbage_in_the_body(self) -> None:
        reader = self.exchange(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        self.server.wires[0].say(b"zz\r\n")
        assert reader.ended is not None
        self.assertIsNotNone(reader.ended.check(ResponseFailed))
        self.assertTrue(self.server.wires[0].aborted)


class BackPressure(AgentCase):
    def test_a_body_that_nobody_takes_yet_is_not_read_on(self) -> None:
        asking = self.ask()
        wire = self.server.wires[0]
        wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
        self.assertEqual(wire.producerState, "paused")
        reader = self.read(self.successResultOf(asking))
        self.assertEqual((reader.pieces, wire.producerState), ([b"hi"], "producing"))

    def test_the_reader_of_the_body_holds_the_connection(self) -> None:
        reader = self.exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
        transport: Any = reader.transport
        transport.pauseProducing()
        self.assertEqual(self.server.wires[0].producerState, "paused")
        transport.resumeProducing()
        self.assertEqual(self.server.wires[0].producerState, "producing")

    def test_a_hold_ends_with_its_answer(self) -> None:
        class Heavy(Reader):
            def dataReceived(self, data: bytes) -> None:
                cast_transport: Any = self.transport
                cast_transport.pauseProducing()

        asking, heavy = self.ask(), Heavy()
        asking.addCallback(lambda response: response.deliverBody(heavy))
        wire = self.server.wires[0]
        wire.say(PLAIN)
        self.assertEqual(wire.producerState, "producing")
        transport: Any = heavy.transport
        transport.pauseProducing()  # too late: the connection belongs to the next request now
        self.assertEqual(wire.producerState, "producing")

    def test_who_stops_reading_closes_the_connection(self) -> None:
        reader = self.exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
        transport: Any = reader.transport
        transport.stopProducing()
        self.assertTrue(self.server.wires[0].aborted)


class Cancelling(AgentCase):
    def test_it_closes_the_connection(self) -> None:
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(self.server.wires[0].aborted)
        self.assertEqual(self.agent.connections, 0)


class Keeping(AgentCase):
    def test_what_is_sent_on_a_kept_connection_has_to_be_acknowledged(self) -> None:
        """Its way may have broken meanwhile; a new one has just been found to work."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is None:
            raise SkipTest("this system has no such limit")
        asking = self.ask()
        wire = self.server.wires[0]
        with socket.socket() as wire.socket:
            self.assertEqual(wire.socket.getsockopt(socket.IPPROTO_TCP, option), 0)
            wire.say(PLAIN)
            self.read(self.successResultOf(asking))
            self.assertEqual(wire.socket.getsockopt(socket.IPPROTO_TCP, option), ACKNOWLEDGED_SECONDS * 1000)

    def test_a_connection_is_used_again(self) -> None:
        for _ in range(3):
            self.assertEqual(self.exchange().pieces, [b"hi"])
        self.assertEqual(len(self.server.wires), 1)
        self.assertEqual(self.server.origins, [b"upstream.example:8080"])

    def test_not_for_another_origin(self) -> None:
        self.exchange()
        self.ask(b"http://upstream.example:8081/")
        self.ask(b"https://upstream.example:8080/")
        self.assertEqual(len(self.server.wires), 3)

    def test_not_when_the_answer_says_so(self) -> None:
        self.exchange(PLAIN.replace(b"X-Seen: yes", b"Connection: close"))
        self.assertTrue(self.server.wires[0].disconnecting)
        self.exchange()
        self.assertEqual(len(self.server.wires), 2)

    def test_not_when_something_follows_the_answer(self) -> None:
        self.assertEqual(self.exchange(PLAIN + PLAIN).pieces, [b"hi"])
        self.assertTrue(self.server.wires[0].disconnecting)

    def test_nor_when_that_is_not_even_http(self) -> None:
        reader = self.exchange(PLAIN + b"SSH-2.0-OpenSSH\r\n")
        assert reader.ended is not None
        self.assertEqual((reader.pieces, reader.ended.check(ResponseDone)), ([b"hi"], ResponseDone))
        self.assertTrue(self.server.wires[0].disconnecting)

    def test_bytes_that_answer_nothing_close_it(self) -> None:
        self.exchange()
        self.server.wires[0].say(PLAIN)
        self.assertTrue(self.server.wires[0].aborted)
        self.exchange()
        self.assertEqual(len(self.server.wires), 2)

    def test_one_that_its_server_closes_is_forgotten(self) -> None:
        self.exchange()
        self.server.wires[0].lose(ConnectionDone())
        self.assertEqual(self.agent.connections, 0)
        self.exchange()
        self.assertEqual(len(self.server.wires), 2)

    def test_a_request_that_meets_a_connection_just_closed_is_sent_again_on_a_new_one(self) -> None:
        self.exchange()
        asking = self.ask()
        self.server.wires[0].lose(ConnectionDone())
        self.server.wires[1].say(PLAIN)
        self.assertEqual(self.read(self.successResultOf(asking)).pieces, [b"hi"])

    def test_but_once_only_and_not_when_an_answer_had_begun(self) -> None:
        self.exchange()
        asking = self.ask()
        self.server.wires[0].lose(ConnectionDone())
        self.server.wires[1].lose(ConnectionDone())
        self.failureResultOf(asking, ResponseNeverReceived)
        self.exchange()
        asking = self.ask()
        self.server.wires[2].say(b"HTTP/1.1 2")
        self.server.wires[2].lose(ConnectionDone())
        self.failureResultOf(asking, ResponseFailed)
        self.assertEqual(len(self.server.wires), 3)

    def test_cancelling_the_second_try(self) -> None:
        self.exchange()
        asking = self.ask()
        self.server.wires[0].lose(ConnectionDone())
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(self.server.wires[1].aborted)

    def test_the_one_used_last_is_used_next_and_the_oldest_goes_when_there_are_too_many(self) -> None:
        asking = [self.ask() for _ in range(3)]
        for wire, each in zip(self.server.wires, asking, strict=True):
            wire.say(PLAIN)
            self.read(self.successResultOf(each))
        self.assertEqual([wire.disconnecting for wire in self.server.wires], [True, False, False])
        newest = self.server.wires[2]
        newest.clear()
        self.ask()
        self.assertIn(b"POST", newest.value())

    def test_after_a_while_idle_ones_are_closed(self) -> None:
        self.exchange()
        self.clock.advance(30)
        busy = self.ask()
        self.ask()  # a second connection
        self.server.wires[0].say(PLAIN)
        self.read(self.successResultOf(busy))
        self.clock.advance(20)
        self.assertFalse(self.server.wires[0].disconnecting)
        self.clock.advance(30)
        self.assertTrue(self.server.wires[0].disconnecting)
        self.assertEqual(self.agent.connections, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing_waits_for_every_connection(self) -> None:
        self.exchange()
        waiting = self.ask()
        self.exchange()
        closing = Deferred.fromCoroutine(self.agent.close())
        self.failureResultOf(waiting, ResponseNeverReceived)
        self.successResultOf(closing)
        self.assertEqual((self.agent.connections, self.clock.getDelayedCalls()), (0, []))


class Reaching(SynchronousTestCase):
    def test_an_address_is_reached_directly_a_name_by_all_its_addresses(self) -> None:
        ways = Ways(real_reactor(), connect_seconds=1)
        kinds = {
            url: type(ways.endpointForURI(URI.fromBytes(url))).__name__
            for url in (
                b"http://127.0.0.1:1/",
                b"http://[::1]:1/",
                b"http://localhost:1/",
                b"https://localhost:1/",
            )
        }
        self.assertEqual(
            list(kinds.values()), ["TCP4ClientEndpoint", "TCP6ClientEndpoint", "_Named", "_Secured"]
        )

    def test_a_proxy_is_asked_for_an_address_in_brackets(self) -> None:
        reactor = MemoryReactorClock()
        ways = Ways(
            reactor, connect_seconds=1, find_proxy=lambda _scheme, _host, _port: Proxy("127.0.0.1", 1)
        )
        ways.endpointForURI(URI.fromBytes(b"http://[::1]:8000/")).connect(Factory.forProtocol(Reader))
        wire = StringTransport()
        protocol: Any = reactor.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        protocol.makeConnection(wire)
        self.assertEqual(wire.value().partition(b"\r\n")[0], b"CONNECT [::1]:8000 HTTP/1.1")


class Naming(SynchronousTestCase):
    """A name that is being looked up, by a name server that does not answer."""

    def setUp(self) -> None:
        self.reactor = Nameless()
        ways = Ways(self.reactor, connect_seconds=10)
        endpoint = ways.endpointForURI(URI.fromBytes(b"http://upstream.example:1/"))
        self.connecting = endpoint.connect(Factory.forProtocol(Reader))

    def assert_over(self) -> None:
        """Say that nothing goes on, not even when the name server answers after all."""
        (receiver,) = self.reactor.receivers
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", 1))
        receiver.resolutionComplete()
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.tcpClients), ([], []))

    def test_it_has_the_time_of_a_connection(self) -> None:
        self.reactor.advance(9.9)
        self.assertNoResult(self.connecting)
        self.reactor.advance(0.1)
        self.failureResultOf(self.connecting, ConnectTimeoutError)
        self.assert_over()

    def test_who_gives_it_up_is_not_told_that_it_failed(self) -> None:
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)
        self.assert_over()

    def test_every_name_is_looked_up(self) -> None:
        for host in (b"my_vllm", b"-x-.example"):
            endpoint = Ways(self.reactor, connect_seconds=10).endpointForURI(
                URI.fromBytes(b"http://%b/" % host)
            )
            connecting = endpoint.connect(Factory.forProtocol(Reader))
            self.assertEqual(self.reactor.names[-1].encode(), host)
            connecting.cancel()
            self.failureResultOf(connecting, CancelledError)

    def test_one_that_is_not_known(self) -> None:
        (receiver,) = self.reactor.receivers
        receiver.resolutionComplete()
        self.failureResultOf(self.connecting, DNSLookupError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_is_found(self) -> None:
        (receiver,) = self.reactor.receivers
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", 1))
        receiver.resolutionComplete()
        protocol: Any = self.reactor.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        protocol.makeConnection(StringTransport())
        self.assertIsInstance(self.successResultOf(self.connecting), Reader)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Securing(AgentCase):
    """TLS gets its time; what Twisted's TLS says is said by hand."""

    def setUp(self) -> None:
        super().setUp()
        self.connecting = _Secured(self.server, self.clock, seconds=10).connect(
            _Connections(self.agent, (b"", b""))
        )

    def test_it_is_waited_for(self) -> None:
        self.assertNoResult(self.connecting)
        self.server.wires[0].protocol.handshakeCompleted()
        self.assertIs(self.successResultOf(self.connecting), self.server.wires[0].protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_but_not_for_ever(self) -> None:
        self.clock.advance(10)
        self.failureResultOf(self.connecting, ConnectTimeoutError)
        self.assertTrue(self.server.wires[0].aborted)

    def test_one_that_fails(self) -> None:
        self.server.wires[0].lose(ConnectionLost())
        self.failureResultOf(self.connecting, ResponseNeverReceived)

    def test_one_that_is_given_up(self) -> None:
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)
        self.assertTrue(self.server.wires[0].aborted)

    def test_other_clients_wait_for_it_themselves(self) -> None:
        endpoint = _Secured(self.server, self.clock, seconds=10)
        self.assertIsInstance(self.successResultOf(endpoint.connect(Factory.forProtocol(Reader))), Reader)
