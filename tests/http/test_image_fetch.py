from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted import __version__
from openclaw_twisted.content import ImagePart, Message
from openclaw_twisted.errors import ConfigError
from openclaw_twisted.http.image_wire import MAX_ADDRESSES_TRIED, TRY_NEXT_AFTER_SECONDS
from tests.http import images
from tests.http.image_web import KEY, PARAM, PNG, PUBLIC, MemoryCase, Names, answer, base64, redirect


class Asking(MemoryCase):
    def test_what_is_sent(self) -> None:
        web = self.web()
        web.fetch("http://example.org/a%20b/ü.png?c=d&e#f")
        sent = web.host().request
        self.assertEqual(sent[0], "GET /a%20b/%C3%BC.png?c=d&e HTTP/1.1")
        self.assertEqual(
            sorted(line.lower() for line in sent[1:] if line),
            [
                "accept-encoding: identity",
                "accept: image/*",
                "connection: close",
                "host: example.org",
                f"user-agent: openclaw-twisted/{__version__}",
            ],
        )

    def test_the_path_is_sent_as_it_is(self) -> None:
        for path in ("/", "//a.png", "///a/../b", "/a;b=c?d;e", "/?", "/%2e%2e/a"):
            web = self.web()
            web.fetch(f"http://example.org{path}")
            self.assertEqual(web.host().request[0], f"GET {path} HTTP/1.1")

    def test_ip_addresses_are_not_looked_up(self) -> None:
        web = self.web()
        web.fetch("http://1.1.1.1/", "http://[2606:4700::1111]/")
        self.assertEqual(web.connections, [("1.1.1.1", 80), ("2606:4700::1111", 80)])
        self.assertIn("Host: 1.1.1.1", web.host().request)
        self.assertIn("Host: [2606:4700::1111]", web.host().request)
        self.assertEqual(web.names.asked, [])

    def test_the_next_address_is_tried(self) -> None:
        web = self.web(Names(many_test=f"2606:4700::1111 {PUBLIC} 1.1.1.1"))
        fetching = web.fetch("http://many.test/")
        first = web.host(accept=False)
        self.assertEqual(first.timeout, TRY_NEXT_AFTER_SECONDS)
        first.refuse()
        second = web.host()
        self.assertEqual([host.ip for host in web.hosts], ["2606:4700::1111", PUBLIC])
        second.send(answer())
        self.assertEqual(len(self.fetched(fetching)), 1)

    def test_not_all_addresses_are_tried(self) -> None:
        found = [f"1.1.1.{last}" for last in range(1, 20)]
        web = self.web(Names(many_test=" ".join(found)))
        fetching = web.fetch("http://many.test/")
        for _ in range(MAX_ADDRESSES_TRIED):
            web.host(accept=False).refuse()
        self.assertIn("cannot be reached", self.trouble(fetching).message)
        self.assertEqual([host.ip for host in web.hosts], found[:MAX_ADDRESSES_TRIED])

    def test_ports(self) -> None:
        listed = {"url_allowlist": ("example.org",)}
        for port, settings, allowed in (
            (80, {}, True),
            (443, {}, True),
            (8080, {}, False),
            (22, {}, False),
            (80, listed, True),
            (8080, listed, True),
            (1024, listed, True),
            (1023, listed, False),
            (25, listed, False),
        ):
            web = self.web(**settings)  # type: ignore[arg-type]
            fetching = web.fetch(f"http://example.org:{port}/")
            self.assertEqual(web.connections, [(PUBLIC, port)] if allowed else [], (port, settings))
            if not allowed:
                self.assertIn("asked at ports 80 and 443 only", self.trouble(fetching).message)

    def test_only_listed_hosts(self) -> None:
        web = self.web(url_allowlist=("example.org",))
        error = self.trouble(web.fetch("http://cdn.example.net/"))
        self.assertIn(f"cdn.example.net is not in {KEY}.urlAllowlist", error.message)
        self.assertEqual(web.names.asked, [])
        fetching = web.fetch("http://example.org/")
        web.host().send(redirect("http://cdn.example.net/"))
        self.assertIn("cdn.example.net is not in", self.trouble(fetching).message)

    def test_a_list_with_something_else_in_it(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            self.web(url_allowlist=("example.org", "https://example.org/"))
        self.assertEqual([problem.path for problem in caught.exception.problems], [f"{KEY}.urlAllowlist[1]"])


class Redirected(MemoryCase):
    def test_every_kind(self) -> None:
        for status in (301, 302, 303, 307, 308):
            web = self.web()
            fetching = web.fetch("http://example.org/a")
            first = web.host()
            first.send(redirect("http://cdn.example.net/b", f"{status} Whatever"))
            self.assertTrue(first.aborted)
            second = web.host()
            self.assertEqual((second.ip, second.request[0]), ("1.1.1.1", "GET /b HTTP/1.1"))
            self.assertIn("Host: cdn.example.net", second.request)
            second.send(answer())
            self.assertEqual(len(self.fetched(fetching)), 1)

    def test_so_many_and_no_more(self) -> None:
        for most in (0, 1, 3):
            web = self.web(max_redirects=most)
            fetching = web.fetch("http://example.org/0")
            for step in range(most + 1):
                self.assertNoResult(fetching)
                web.host().send(redirect(f"/{step + 1}"))
            self.assertIn(f"redirects more than {most} times", self.trouble(fetching).message)
            self.assertEqual(len(web.connections), most + 1)

    def test_the_last_one_allowed_leads_to_the_image(self) -> None:
        web = self.web(max_redirects=1)
        fetching = web.fetch("http://example.org/0")
        web.host().send(redirect("/1"))
        web.host().send(answer())
        self.assertEqual(len(self.fetched(fetching)), 1)

    def test_places_that_cannot_be_read(self) -> None:
        for head in (
            "Location: ftp://example.org/",
            "Location: //u@example.org/",
            "X: y",
            "Location: /a\r\nLocation: /b",
        ):
            web = self.web()
            fetching = web.fetch("http://example.org/")
            web.host().send(answer(b"", head, status="302 Found"))
            self.assertIn("cannot be read", self.trouble(fetching).message)

    def test_another_3xx_is_no_redirect(self) -> None:
        for status in (300, 304, 305):
            web = self.web()
            fetching = web.fetch("http://example.org/")
            web.host().send(redirect("/b", f"{status} Whatever"))
            self.assertIn(f"answered with status {status}", self.trouble(fetching).message)


class Answers(MemoryCase):
    def ask(self, *sent: bytes, hang_up: bool = False, **settings: Any) -> Deferred[tuple[Message, ...]]:
        self.asked = self.web(**settings)
        fetching = self.asked.fetch("http://example.org/secret-path")
        host = self.asked.host()
        for data in sent:
            host.send(data)
        if hang_up:
            host.hang_up()
        return fetching

    def test_the_type_is_told_by_the_bytes(self) -> None:
        for data, media_type in (
            (images.png(), "image/png"),
            (images.jpeg(), "image/jpeg"),
            (images.gif(), "image/gif"),
            (images.webp_lossless(), "image/webp"),
            (images.heic(), "image/heic"),
        ):
            fetching = self.ask(answer(data, "Content-Type: text/html"))
            self.assertEqual(self.fetched(fetching), [ImagePart(media_type, base64(data))])
            self.assertTrue(self.asked.hosts[0].aborted)
            self.assertEqual(self.asked.reactor.getDelayedCalls(), [])

    def test_what_is_allowed(self) -> None:
        heif = self.ask(answer(images.heic()), allowed_mimes=("image/heif",))
        self.assertEqual(self.fetched(heif)[0].media_type, "image/heif")
        gif = self.trouble(self.ask(answer(images.gif()), allowed_mimes=("image/jpg", "image/png")))
        self.assertIn("only image/jpeg, image/png", gif.message)
        self.assertEqual(gif.param, PARAM)

    def test_what_is_no_image(self) -> None:
        for body in (b"", b"<html>", b"<svg/>"):
            self.assertIn(
                "of this type", self.trouble(self.ask(answer(body, "Content-Type: image/png"))).message
            )
        bomb = self.trouble(self.ask(answer(images.png(50_000, 50_000))))
        self.assertIn("pixels", bomb.message)

    def test_ways_to_send_it(self) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        for sent in (
            [answer()[:10], answer()[10:50], answer()[50:]],
            [bytes([byte]) for byte in answer()],
            [chunked, b"%x\r\n%b\r\n" % (len(PNG), PNG), b"0\r\n\r\n"],
            [early, early, answer()],
            [answer().replace(b"\r\n", b"\n", 3)],
            [answer(PNG, "Content-Encoding: identity")],
            [answer() + b"HTTP/1.1 200 OK\r\n\r\nsomething more"],
        ):
            self.assertEqual(self.fetched(self.ask(*sent)), [ImagePart("image/png", base64(PNG))], sent[0])
        until_closed = self.ask(b"HTTP/1.0 200 OK\r\n\r\n", PNG, hang_up=True)
        self.assertEqual(len(self.fetched(until_closed)), 1)

    def test_other_answers(self) -> None:
        no_web_server = "did not answer as a web server does"
        head = b"HTTP/1.1 200 OK\r\n"
        for sent, said in {
            answer(status="404 Not Found"): "answered with status 404",
            answer(status="500 Oops"): "answered with status 500",
            answer(status="401 No"): "answered with status 401",
            answer(status="206 Partial"): "answered with status 206",
            answer(b"", status="204 No Content"): "answered with status 204",
            answer(PNG, "Content-Encoding: gzip"): "sent the image compressed",
            answer(PNG, "Content-Encoding: identity, br"): "sent the image compressed",
            answer(PNG, "Content-Encoding: x").replace(b": x", b": \xff"): "sent the image compressed",
            b"SSH-2.0-OpenSSH_9.6\r\n": no_web_server,
            b"\x16\x03\x01\x02\x00\n": no_web_server,
            head + b"Transfer-Encoding: gzip\r\n\r\n": no_web_server,
            head + b"Content-Length: -5\r\n\r\n": no_web_server,
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n": no_web_server,
        }.items():
            error = self.trouble(self.ask(sent))
            self.assertIn(f"The image host example.org {said}", error.message, sent)
            self.assertEqual((error.param, error.code, error.kind), (PARAM, None, "invalid_request_error"))
            self.assertNotIn("secret-path", error.message)
            self.assertEqual(self.asked.reactor.getDelayedCalls(), [])

    def test_no_encryption_where_there_should_be(self) -> None:
        web = self.web()
        fetching = web.fetch("https://example.org/")
        self.assertEqual(web.connections, [(PUBLIC, 443)])
        web.host().send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertIn("no certificate that can be trusted", self.trouble(fetching).message)

    def test_hanging_up(self) -> None:
        for sent in (
            [],
            [b"HTTP/1.1 200"],
            [answer()[:-1]],
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc"],
        ):
            self.assertIn("hung up", self.trouble(self.ask(*sent, hang_up=True)).message, sent)
