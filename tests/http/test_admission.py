"""The order of checks and the raw wire, over real sockets."""

import json
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from openclaw_twisted.http.admission import MAX_DISCARDED_BYTES
from openclaw_twisted.providers.scripted import reply
from openclaw_twisted.testing import LoopbackDoor, real_reactor
from tests.http.door import HELLO, DoorCase

BODY = b'{"messages":[{"role":"user","content":"hi"}]}'


def error_in(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


class Raw(Protocol):
    """A connection that is written to by hand and keeps all that comes back."""

    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(self.received)


class Wire(DoorCase):
    async def connect(self) -> Raw:
        endpoint = TCP4ClientEndpoint(real_reactor(), "127.0.0.1", self.door.port)
        raw: Raw = await connectProtocol(endpoint, Raw())
        return raw

    async def send(self, request: bytes) -> bytes:
        """Send bytes and return all that came until the server closed."""
        raw = await self.connect()
        assert raw.transport is not None
        raw.transport.write(request)
        return await raw.closed

    def head(self, *lines: str, method: str = "POST", path: str = "/v1/chat/completions") -> bytes:
        usual = [f"{method} {path} HTTP/1.1", "host: localhost", f"authorization: Bearer {self.door.TOKEN}"]
        return "\r\n".join([*usual, *lines, "", ""]).encode()


class Early(Wire):
    async def test_a_body_too_large_is_refused_by_its_declared_length(self) -> None:
        self.open(settings=max_body(1000))
        answer = await self.send(self.head("content-type: application/json", "content-length: 99999999"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertEqual(error_in(answer)["code"], "request_too_large")

    async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(self) -> None:
        self.open(settings=max_body(1000))
        head = self.head("content-type: application/json", "transfer-encoding: chunked")
        answer = await self.send(head + b"7d0\r\n" + b"x" * 2000)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)

    async def test_a_stranger_is_refused_before_a_large_body_is_read(self) -> None:
        self.open()
        lines = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {10**7}\r\n\r\n"
        answer = await self.send(lines.encode())
        self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), answer)
        self.assertIn(b"connection: close", answer)

    async def test_who_expects_a_go_ahead_hears_the_refusal_instead(self) -> None:
        self.open()
        lines = b"host: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        answer = await self.send(b"POST /v1/chat/completions HTTP/1.1\r\n" + lines)
        self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), answer)

    async def test_who_expects_a_go_ahead_and_may_come_in_gets_it(self) -> None:
        self.open(reply("ok"))
        raw = await self.connect()
        assert raw.transport is not None
        raw.transport.write(
            self.head(
                "content-type: application/json",
                "expect: 100-continue",
                f"content-length: {len(BODY)}",
                "connection: close",
            )
        )
        await self.until(lambda: raw.received)
        self.assertEqual(raw.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.transport.write(BODY)
        self.assertIn(b"HTTP/1.1 200 ", await raw.closed)

    async def test_who_has_lost_the_right_meanwhile_is_refused_when_the_body_is_there(self) -> None:
        self.open()
        newer = LoopbackDoor({"gateway": {"auth": {"token": "another-token-for-tests"}}})
        self.addCleanup(lambda: Deferred.fromCoroutine(newer.stop()))
        raw = await self.connect()
        assert raw.transport is not None
        lines = ("content-type: application/json", f"content-length: {len(BODY)}", "connection: close")
        raw.transport.write(self.head(*lines, "expect: 100-continue"))
        await self.until(lambda: raw.received == b"HTTP/1.1 100 Continue\r\n\r\n")
        self.door.site.take(newer.site.http, newer.site.admission, newer.settings.gateway)
        raw.transport.write(BODY)
        answer = (await raw.closed).partition(b"\r\n\r\n")[2]
        self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), answer)
        self.assertEqual(self.door.runs.provider.requests + newer.runs.provider.requests, [])

    async def test_a_refused_short_body_leaves_the_connection_in_use(self) -> None:
        self.open(reply("ok"))
        refused = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nabcd"
        good = (
            self.head("content-type: application/json", f"content-length: {len(BODY)}", "connection: close")
            + BODY
        )
        answer = await self.send(refused + good)
        self.assertEqual(re.findall(rb"HTTP/1.1 ([0-9]+) ", answer), [b"401", b"200"])

    async def test_what_follows_a_refusal_is_dropped_up_to_a_limit(self) -> None:
        self.open()
        raw = await self.connect()
        assert raw.transport is not None
        raw.transport.write(
            f"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: {10**9}\r\n\r\n".encode()
        )
        await self.until(lambda: raw.received)
        raw.transport.write(b"x" * 5_000_000)
        self.assertTrue((await raw.closed).startswith(b"HTTP/1.1 404 "))

    async def test_http_1_0_needs_no_host_and_closes(self) -> None:
        self.open(reply("ok"))
        head = self.head("content-type: application/json", f"content-length: {len(BODY)}")
        answer = await self.send(
            head.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"host: localhost\r\n", b"") + BODY
        )
        self.assertTrue(answer.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 ")), answer)
        self.assertNotIn(b"chunked", answer.lower())

    async def test_http_1_0_gets_a_stream_without_chunks(self) -> None:
        self.open(reply("one", " two"))
        body = json.dumps({**json.loads(BODY), "stream": True}).encode()
        head = self.head("content-type: application/json", f"content-length: {len(body)}")
        answer = await self.send(head.replace(b"HTTP/1.1", b"HTTP/1.0") + body)
        lines = answer.partition(b"\r\n\r\n")[2].splitlines()
        self.assertEqual([line for line in lines if line and not line.startswith(b"data: ")], [])
        self.assertEqual(lines[-2:], [b"data: [DONE]", b""])


class Limits(Wire):
    async def test_connections_beyond_the_limit_are_closed(self) -> None:
        self.open(settings={"gateway": {"limits": {"maxConnections": 2}}})
        open_ones = [await self.connect() for _ in range(2)]
        self.assertEqual(await self.send(b""), b"")
        assert open_ones[0].transport is not None
        open_ones[0].transport.loseConnection()
        await open_ones[0].closed
        await self.until(lambda: self.door.connections == 1)
        answer = await self.send(b"GET /health HTTP/1.0\r\nhost: localhost\r\n\r\n")
        self.assertIn(b" 200 ", answer)

    async def test_websockets_count_among_the_connections(self) -> None:
        self.open(settings={"gateway": {"limits": {"maxConnections": 2}}})
        self.door.websockets = 2
        self.assertEqual(await self.send(b""), b"")

    async def test_too_much_head_is_refused(self) -> None:
        self.open(settings={"gateway": {"limits": {"maxHeaderBytes": 1000, "maxHeaders": 5}}})
        for lines in ([f"x: {'y' * 1000}"], [f"x-{at}: y" for at in range(6)], [f"x: {'y' * 20_000}"]):
            answer = await self.send(self.head(*lines, method="GET", path="/health"))
            self.assertTrue(answer.startswith(b"HTTP/1.1 431 "), answer)
            self.assertEqual(error_in(answer)["code"], "headers_too_large")

    async def test_a_request_line_beyond_its_own_limit_is_refused(self) -> None:
        self.open(settings={"gateway": {"limits": {"maxRequestLineBytes": 100}}})
        for path, status in (("/health?" + "x" * 100, 431), ("/health", 200)):
            answer = await self.send(
                self.head(f"x: {'y' * 500}", "connection: close", method="GET", path=path)
            )
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} ".encode()), answer)

    async def test_one_header_may_fill_the_head(self) -> None:
        self.open(settings={"gateway": {"limits": {"maxHeaderBytes": 40_000}}})
        for size, status in ((30_000, 200), (50_000, 431)):
            lines = (f"x: {'y' * size}", "connection: close")
            answer = await self.send(self.head(*lines, method="GET", path="/health"))
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:80])

    async def test_what_is_no_request_is_refused_in_our_words(self) -> None:
        self.open()
        good = self.head("content-type: application/json", "content-length: 2")
        for request in (
            b"\x16\x03\x01 hello\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            good.replace(b"content-length: 2", b"content-length: +2"),
            good.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n"),
            good.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"),
            self.head("content-type: application/json", "transfer-encoding: chunked") + b"xyz\r\n",
        ):
            answer = await self.send(request)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), (request, answer))
            self.assertEqual(error_in(answer)["type"], "invalid_request_error")

    async def test_a_header_may_be_no_utf_8(self) -> None:
        self.open(reply("ok"))
        lines = (
            "connection: close",
            "accept: text/ODD",
            "idempotency-key: ODD",
            "x-stainless-retry-count: ODD",
        )
        body = json.dumps(HELLO).encode()
        chat = self.head(*lines, "content-type: application/json", f"content-length: {len(body)}")
        for request in (self.head(*lines, method="GET", path="/"), chat + body):
            answer = await self.send(request.replace(b"ODD", b"\xe4\xff"))
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    async def test_a_target_may_name_the_host(self) -> None:
        self.open()
        for target, status in (
            ("http://localhost/health", 200),
            ("HTTP://LOCALHOST/health?x=//", 200),
            ("https://localhost/v1/models", 200),
            ("http://localhost", 200),
            ("http://localhost/nowhere", 404),
            ("http://localhost//health", 400),
            ("http://evil.example/health", 400),
            ("http://localhost:1/health", 400),
            ("http://[/health", 400),
            ("ftp://localhost/health", 400),
            ("*", 404),
        ):
            for _ in range(2):  # what is matched may be remembered
                answer = await self.send(self.head("connection: close", method="GET", path=target))
                self.assertTrue(answer.startswith(f"HTTP/1.1 {status} ".encode()), (target, answer))
        head = self.head("connection: close", method="GET", path="http://localhost/health")
        for hosts in (b"host: other", b"host: localhost\r\nhost: localhost"):
            answer = await self.send(head.replace(b"host: localhost", hosts))
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)

    async def test_strict_transport_security_when_it_is_configured(self) -> None:
        value = "max-age=31536000"
        self.open(settings={"gateway": {"http": {"securityHeaders": {"strictTransportSecurity": value}}}})
        answer = await self.send(b"GET /health HTTP/1.0\r\nhost: localhost\r\n\r\n")
        self.assertIn(f"strict-transport-security: {value}".encode(), answer.lower())
        self.assertNotIn(b"twisted", answer.lower())


def max_body(size: int) -> dict[str, Any]:
    return {"gateway": {"http": {"endpoints": {"chatCompletions": {"maxBodyBytes": size}}}}}


class Order(DoorCase):
    async def test_each_check_comes_before_the_next(self) -> None:
        """Each request is wrong in everything from its check on; the first wrong thing is what is told."""
        self.open()
        wrong = {
            "authorization": "Bearer wrong",
            "content-type": "text/plain",
            "origin": "http://evil.example",
        }
        chat = "/v1/chat/completions"
        table: list[tuple[str, str, dict[str, str], int]] = [
            ("DELETE", "/nowhere", wrong | {"host": "evil.example"}, 421),
            ("DELETE", "/nowhere", wrong, 404),
            ("DELETE", chat, wrong, 405),
            ("POST", chat, wrong, 403),
            ("POST", chat, wrong | {"origin": ""}, 401),
            ("POST", chat, {"content-type": "text/plain"}, 415),
            ("POST", chat, {}, 400),
        ]
        for method, path, headers, status in table:
            answer = await self.ask(method, path, headers=headers, body=b"{")
            self.assertEqual(answer.status, status, (method, path, answer.text))
            self.assertEqual(set(answer.error), {"message", "type", "param", "code"})
            self.assertIn("x-request-id", answer.headers)
            self.assertRegex(answer.headers["date"], r"^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$")
            if status == 405:
                self.assertEqual(answer.headers["allow"], "POST")
            if status == 401:
                self.assertEqual(answer.headers["www-authenticate"], "Bearer")

    async def test_every_route_but_the_probes_needs_the_secret(self) -> None:
        self.open()
        open_to_all = {"GET /", "GET /health", "GET /healthz", "GET /ready", "GET /readyz"}
        seen = 0
        for name in self.door.routes:
            method, _, path = name.partition(" ")
            answer = await self.ask(
                method, path.replace("{id}", "openclaw"), headers={"authorization": ""}, body=None
            )
            seen += 1
            self.assertEqual(answer.status, 200 if name in open_to_all else 401, name)
        self.assertGreaterEqual(seen, 8)

    async def test_a_disabled_endpoint_names_its_key(self) -> None:
        off = {"enabled": False}
        self.open(settings={"gateway": {"http": {"endpoints": {"chatCompletions": off, "responses": off}}}})
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
            answer = await self.ask(method, path, body={} if method == "POST" else None)
            self.assertEqual(answer.status, 404)
            self.assertIn("gateway.http.endpoints.chatCompletions.enabled", answer.error["message"])

    async def test_paths_with_two_readings_are_refused(self) -> None:
        self.open()
        for path in (
            "//healthz",
            "/%2Fhealthz",
            "/v1/../healthz",
            "/%2e%2e/healthz",
            "/a%5cb",
            "/%00",
            "/%zz",
        ):
            answer = await self.ask("GET", path)
            self.assertEqual(answer.status, 400, path)
        self.assertEqual((await self.ask("GET", "/%ff")).status, 400)

    async def test_a_wrong_base_url_is_told_the_right_one(self) -> None:
        self.open()
        for path, said in (
            ("/v1//chat/completions", "slash"),
            ("/chat/completions", "/v1"),
            ("/v1/v1/chat/completions", "/v1"),
        ):
            answer = await self.ask("POST", path, body={})
            self.assertIn("base URL", answer.error["message"], path)
            self.assertIn(said, answer.error["message"], path)

    async def test_a_sane_request_id_is_given_back(self) -> None:
        self.open()
        answer = await self.ask("GET", "/health", headers={"x-request-id": "abc-123"})
        self.assertEqual(answer.headers["x-request-id"], "abc-123")
        answer = await self.ask("GET", "/health", headers={"x-request-id": "a b" * 100})
        self.assertRegex(answer.headers["x-request-id"], "^[0-9a-f]{32}$")

    async def test_bodies_that_nobody_reads_are_dropped(self) -> None:
        self.open()
        answer = await self.ask("GET", "/health", body=b"x" * (MAX_DISCARDED_BYTES - 1))
        self.assertEqual(answer.status, 200)


class Others(DoorCase):
    async def test_models(self) -> None:
        self.open(settings={"agents": {"list": [{"id": "main"}, {"id": "beta"}]}})
        answer = await self.ask("GET", "/v1/models")
        self.assertEqual(
            [model["id"] for model in answer.json["data"]],
            ["openclaw", "openclaw/default", "openclaw/main", "openclaw/beta"],
        )
        for name in ("openclaw", "openclaw/beta", "openclaw%2Fbeta", "openclaw:beta", "agent:beta"):
            found = await self.ask("GET", f"/v1/models/{name}")
            self.assertEqual((found.status, found.json["id"]), (200, name.replace("%2F", "/")))
        unknown = await self.ask("GET", "/v1/models/openclaw/nobody")
        self.assertEqual((unknown.status, unknown.error["code"]), (404, "model_not_found"))
        for name in ("%2F", "%2Fbeta", "a%2F%2Fb", "openclaw%2F%2Fbeta", "a%2F"):
            self.assertEqual((await self.ask("GET", f"/v1/models/{name}")).status, 404, name)

    async def test_probes(self) -> None:
        self.open()
        for path in ("/health", "/healthz"):
            answer = await self.ask("GET", path, headers={"authorization": ""})
            self.assertEqual((answer.status, answer.json), (200, {"ok": True, "status": "live"}))
            self.assertEqual(answer.headers["cache-control"], "no-store")

    async def test_only_who_may_know_hears_why_the_gateway_is_not_ready(self) -> None:
        self.open()
        anybody = {"authorization": ""}
        for path in ("/ready", "/readyz"):
            self.assertEqual((await self.ask("GET", path)).json, {"ready": True, "failing": []})
            self.assertEqual((await self.ask("GET", path, headers=anybody)).json, {"ready": True})
        self.door.failing.append("store")
        for path in ("/ready", "/readyz"):
            told = await self.ask("GET", path)
            self.assertEqual((told.status, told.json), (503, {"ready": False, "failing": ["store"]}))
            untold = await self.ask("GET", path, headers=anybody)
            self.assertEqual((untold.status, untold.json), (503, {"ready": False}))
            self.assertEqual(untold.headers["retry-after"], "1")

    async def test_a_probe_is_no_way_to_guess_the_secret(self) -> None:
        self.open(settings={"gateway": {"auth": {"rateLimit": {"maxAttempts": 1, "exemptLoopback": False}}}})
        answer = await self.ask("GET", "/readyz", headers={"authorization": "Bearer wrong"})
        self.assertEqual((answer.status, answer.json), (200, {"ready": True}))
        answer = await self.ask("GET", "/readyz")  # locked out by now
        self.assertEqual((answer.status, answer.json), (200, {"ready": True}))

    async def test_the_front_door_for_curl_and_for_browsers(self) -> None:
        self.open()
        line = await self.ask("GET", "/", headers={"authorization": ""})
        self.assertEqual(line.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(line.text.count("\n"), 1)
        page = await self.ask("GET", "/", headers={"accept": "text/html,*/*"})
        self.assertIn("<h1>OpenClaw Gateway</h1>", page.text)
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])

    async def test_head_has_no_body(self) -> None:
        self.open()
        answer = await self.ask("HEAD", "/health")
        self.assertEqual((answer.status, answer.text), (200, ""))

    async def test_an_upgrade_that_we_do_not_know_is_ignored(self) -> None:
        self.open(reply("ok"))
        answer = await self.chat({"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"})
        self.assertEqual(answer.status, 200)

    async def test_a_trailing_slash_is_accepted(self) -> None:
        self.open(reply("ok"))
        body = {"messages": [{"role": "user", "content": "hi"}]}
        self.assertEqual((await self.ask("POST", "/v1/chat/completions/", body=body)).status, 200)
