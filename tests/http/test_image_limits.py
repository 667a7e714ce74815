from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred

from openclaw_twisted.content import Message
from openclaw_twisted.http.image_fetch import FETCHES_AT_ONCE
from openclaw_twisted.http.image_wire import MAX_HEAD_BYTES
from tests.http import images
from tests.http.image_web import (
    PARAM,
    PNG,
    PUBLIC,
    MemoryCase,
    MemoryWeb,
    Names,
    answer,
    base64,
    messages,
    redirect,
)
from tests.http.test_parts import data_uri, limits


class Limits(MemoryCase):
    def test_the_declared_size_is_enough(self) -> None:
        web = self.web(max_bytes=1000)
        fetching = web.fetch("http://example.org/")
        host = web.host()
        host.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        error = self.trouble(fetching)
        self.assertIn("exceeds 1000 bytes", error.message)
        self.assertEqual(error.param, PARAM)
        self.assertTrue(host.aborted)

    def test_the_bytes_are_counted_when_nothing_is_declared(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for size, too_large in ((1000, False), (1001, True)):
            web = self.web(max_bytes=1000)
            fetching = web.fetch("http://example.org/")
            host = web.host()
            body = PNG.ljust(size, b"\0")
            host.send(head)
            for at in range(0, size, 100):
                if not host.aborted:
                    piece = body[at : at + 100]
                    host.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.assertEqual(host.aborted, too_large)
            if too_large:
                self.assertIn("exceeds 1000 bytes", self.trouble(fetching).message)
            else:
                host.send(b"0\r\n\r\n")
                self.assertEqual(len(self.fetched(fetching)), 1)

    def test_a_head_without_end(self) -> None:
        web = self.web()
        fetching = web.fetch("http://example.org/")
        host = web.host()
        host.send(b"HTTP/1.1 200 OK\r\n")
        line, sent = b"X: " + b"x" * 1000 + b"\r\n", 0
        while not host.aborted:
            host.send(line)
            sent += len(line)
        self.assertLess(sent, MAX_HEAD_BYTES + len(line))
        self.assertIn("hung up", self.trouble(fetching).message)

    def test_interim_answers_without_end(self) -> None:
        web = self.web()
        fetching = web.fetch("http://example.org/")
        host = web.host()
        for _ in range(MAX_HEAD_BYTES // 25 + 1):
            if not host.aborted:
                host.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertTrue(host.aborted)
        self.trouble(fetching)

    def test_a_body_may_be_larger_than_a_head(self) -> None:
        web = self.web()
        fetching = web.fetch("http://example.org/")
        web.host().send(answer(PNG.ljust(3 * MAX_HEAD_BYTES, b"\0")))
        self.assertEqual(len(self.fetched(fetching)), 1)

    def test_all_images_together(self) -> None:
        """Those in the request count first; what is left is shared by those that are fetched."""
        for total, too_large in ((3000, False), (2999, True)):
            allowed = limits(allow_url=True, max_total_bytes=total)
            web = self.web(allowed=allowed)
            here = data_uri(PNG.ljust(1000, b"\0"))
            fetching = web.fetch(here, "http://example.org/a", "http://example.org/b")
            hosts = [web.host(), web.host()]
            for host in hosts:
                host.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PNG)
            for host in hosts:
                if not host.aborted:
                    host.send(bytes(1000 - len(PNG)))
            if too_large:
                error = self.trouble(fetching)
                self.assertIn("together exceed 2999 bytes", error.message)
                self.assertEqual(error.param, "messages")
            else:
                self.assertEqual(len(self.fetched(fetching)), 3)

    def test_too_much_is_not_waited_for(self) -> None:
        here = data_uri(PNG.ljust(1000, b"\0"))
        web = self.web(allowed=limits(allow_url=True, max_total_bytes=2000))
        fetching = web.fetch(here, "http://example.org/a", "http://example.org/b")
        first, second = web.host(), web.host()
        for host in (first, second):
            host.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + PNG.ljust(500, b"\0"))
            self.assertFalse(host.aborted)
        second.send(b"\0")
        self.assertTrue(second.aborted)
        self.assertTrue(first.aborted)
        self.assertIn("together exceed 2000 bytes", self.trouble(fetching).message)

    def test_the_first_of_two_is_told(self) -> None:
        web = self.web()
        fetching = web.fetch(*["http://example.org/a"] * 2)
        web.host().send(answer(status="404 Not Found"))
        self.assertEqual(self.trouble(fetching).param, PARAM)

    def test_what_is_given_twice_is_fetched_once_and_counted_twice(self) -> None:
        for total, too_large in ((2000, False), (1999, True)):
            web = self.web(allowed=limits(allow_url=True, max_total_bytes=total))
            fetching = web.fetch("http://example.org/a", "HTTP://EXAMPLE.org:80/a#b")
            self.assertEqual(len(web.connections), 1)
            web.host().send(answer(PNG.ljust(1000, b"\0")))
            if too_large:
                self.assertIn("together", self.trouble(fetching).message)
            else:
                first, second = self.fetched(fetching)
                self.assertEqual(first, second)

    def test_so_many_at_once(self) -> None:
        web = self.web()
        fetching = web.fetch(*(f"http://example.org/{number}" for number in range(FETCHES_AT_ONCE + 2)))
        self.assertEqual(len(web.connections), FETCHES_AT_ONCE)
        web.host().send(answer())
        self.assertEqual(len(web.connections), FETCHES_AT_ONCE + 1)
        for _ in range(FETCHES_AT_ONCE + 1):
            web.host().send(answer())
        self.assertEqual(len(self.fetched(fetching)), FETCHES_AT_ONCE + 2)

    def test_the_images_stand_where_their_addresses_stood(self) -> None:
        web = self.web()
        urls = [f"http://example.org/{number}" for number in range(3)]
        fetching = web.fetch(*urls)
        bodies = [images.gif(), images.png(), images.jpeg()]
        for host, body in reversed([(web.host(), body) for body in bodies]):
            host.send(answer(body))
        self.assertEqual([part.data for part in self.fetched(fetching)], [base64(body) for body in bodies])

    def test_one_failure_closes_the_other_connections(self) -> None:
        web = self.web()
        fetching = web.fetch(*(f"http://example.org/{number}" for number in range(6)))
        first, second = web.host(), web.host()
        second.send(answer()[:60])
        first.send(answer(status="404 Not Found"))
        self.trouble(fetching)
        self.assertTrue(second.aborted)
        self.assertEqual(len(web.connections), FETCHES_AT_ONCE)
        self.assertEqual(web.reactor.getDelayedCalls(), [])

    def test_nothing_to_fetch(self) -> None:
        web = self.web()
        given = messages(data_uri(PNG), allowed=web.limits)
        plain = (*given, Message(role="user", content="hi"))
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(web.fetcher.resolve(plain))), plain)


class Patience(MemoryCase):
    def up_to(self, stage: str) -> tuple[MemoryWeb, Deferred[tuple[Message, ...]]]:
        web = self.web(Names(example_org=None if stage == "looking up" else PUBLIC), timeout_ms=5000)
        fetching = web.fetch("http://example.org/")
        if stage in {"waiting", "receiving"}:
            host = web.host()
            if stage == "receiving":
                host.send(answer()[:60])
        return web, fetching

    def end_of(self, web: MemoryWeb) -> None:
        self.assertEqual(web.reactor.getDelayedCalls(), [])
        for host in web.hosts:
            self.assertTrue(host.aborted)
            host.hang_up()
        if not web.hosts:
            self.assertTrue(all(connector.stoppedConnecting for connector in web.reactor.connectors))

    def test_the_deadline(self) -> None:
        for stage in ("looking up", "connecting", "waiting", "receiving"):
            web, fetching = self.up_to(stage)
            web.reactor.advance(4.9)
            self.assertNoResult(fetching)
            web.reactor.advance(0.2)
            error = self.trouble(fetching)
            self.assertIn("The image host example.org took longer than 5 s", error.message, stage)
            self.assertEqual(error.param, PARAM)
            self.end_of(web)

    def test_bytes_that_trickle_do_not_stretch_it(self) -> None:
        web, fetching = self.up_to("waiting")
        for byte in answer()[:50]:
            web.hosts[0].send(bytes([byte]))
            web.reactor.advance(0.099)
        self.assertNoResult(fetching)
        web.reactor.advance(0.1)
        self.assertIn("took longer than 5 s", self.trouble(fetching).message)

    def test_redirects_do_not_stretch_it(self) -> None:
        web, fetching = self.up_to("connecting")
        for _ in range(2):
            web.reactor.advance(2.4)
            web.host().send(redirect("/next"))
        web.reactor.advance(0.3)
        self.assertIn("took longer than 5 s", self.trouble(fetching).message)

    def test_a_client_that_has_gone(self) -> None:
        for stage in ("looking up", "connecting", "waiting", "receiving"):
            web, fetching = self.up_to(stage)
            fetching.cancel()
            self.failureResultOf(fetching, CancelledError)
            self.end_of(web)

    def test_a_name_that_is_found_too_late(self) -> None:
        names = Names(example_org=None)
        web = self.web(names)
        fetching = web.fetch("http://example.org/")
        fetching.cancel()
        self.failureResultOf(fetching, CancelledError)
        names.receivers[0].addressResolved(IPv4Address("TCP", PUBLIC, 80))
        names.receivers[0].resolutionComplete()
        self.assertEqual(web.connections, [])
