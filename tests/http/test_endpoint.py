"""What becomes of an endpoint with a defect, over a real socket."""

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Request, Site

from openclaw_twisted.auth.gate import Identity
from openclaw_twisted.auth.scopes import ALL
from openclaw_twisted.http.app import Application, Route
from openclaw_twisted.http.endpoint import Call, Endpoint, Reply, at_first_use
from openclaw_twisted.testing import real_reactor


class Reader(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(self.received)


class Defects(TestCase):
    timeout = 10

    async def ask(self, endpoint: Any) -> bytes:
        route = Route(name="GET /it", endpoint=endpoint)

        class AdmittedRequest(Request):
            admitted = SimpleNamespace(identity=Identity("somebody"), route=route, arguments={})

        site = Site(Application((route,)).resource, AdmittedRequest)
        port: Any = real_reactor().listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = TCP4ClientEndpoint(real_reactor(), "127.0.0.1", port.getHost().port)
        reader = await connectProtocol(address, Reader())
        reader.transport.write(b"GET /it HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        received: bytes = await reader.closed
        return received

    async def test_before_the_answer_it_is_a_500_without_detail(self) -> None:
        async def defective(_call: Call) -> Reply:
            raise ZeroDivisionError("secret detail")

        answer = await self.ask(defective)
        self.assertIn(b" 500 ", answer)
        self.assertIn(b'"code":"internal_error"', answer)
        self.assertNotIn(b"secret detail", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_during_the_answer_it_breaks_the_connection(self) -> None:
        async def defective(call: Call) -> Reply:
            call.request.write(b"half an answer")
            raise ZeroDivisionError

        answer = await self.ask(defective)
        self.assertFalse(answer.endswith(b"0\r\n\r\n"), answer)
        self.assertNotIn(b"internal_error", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_cancellation_that_no_client_has_caused_is_a_500(self) -> None:
        async def cancelled(_call: Call) -> Reply:
            raise CancelledError

        self.assertIn(b" 500 ", await self.ask(cancelled))
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    async def test_what_nobody_catches_is_logged_though_the_client_has_gone(self) -> None:
        class Fatal(BaseException):
            pass

        async def abandoned(call: Call) -> Reply:
            transport: Any = call.request.transport
            transport.abortConnection()
            try:
                await Deferred()
            except CancelledError as hung_up:
                raise Fatal from hung_up
            raise AssertionError

        await self.ask(abandoned)
        await deferLater(real_reactor(), 0)
        self.assertEqual(len(self.flushLoggedErrors(Fatal)), 1)


class AtFirstUse(SynchronousTestCase):
    def test_an_endpoint_is_made_when_it_is_asked_and_once(self) -> None:
        made: list[Endpoint] = []

        async def answer(call: Call) -> Reply:
            return Reply(body=call.body)

        def make() -> Endpoint:
            made.append(answer)
            return answer

        endpoint = at_first_use(make)
        self.assertEqual(made, [])
        for body in (b"one", b"two"):
            call = Call(request=cast("Request", None), body=body, caller="somebody", scopes=ALL)
            answering: Any = endpoint(call)
            reply: Reply = self.successResultOf(Deferred.fromCoroutine(answering))
            self.assertEqual(reply.body, body)
        self.assertEqual(made, [answer])
