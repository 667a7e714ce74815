from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from openclaw_twisted.content import Usage
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.events import TextDelta
from openclaw_twisted.providers.scripted import Pause, Step, reply
from openclaw_twisted.testing import LoopbackDoor, real_reactor
from tests.http.door import HELLO, DoorCase

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

CHAT = "POST /v1/chat/completions"
PUBLIC = {"metrics": {"public": True}}
NOBODY = {"authorization": ""}


class Wire(Protocol):
    """A connection on which a test writes what it likes."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True


class MetricsCase(DoorCase):
    async def scrape(self) -> Samples:
        return samples_in((await self.ask("GET", "/metrics")).text)

    async def counted(self, name: str, **labels: str) -> float:
        return (await self.scrape()).get((f"openclaw_{name}", frozenset(labels.items())), 0.0)

    async def wire(self, data: bytes) -> Wire:
        endpoint = TCP4ClientEndpoint(real_reactor(), "127.0.0.1", self.door.port)
        wire: Wire = await connectProtocol(endpoint, Wire())
        wire.transport.write(data)  # type: ignore[union-attr]
        self.addCleanup(wire.transport.abortConnection)  # type: ignore[union-attr]
        return wire


def samples_in(text: str) -> Samples:
    """Return every sample of a scrape by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Reading(MetricsCase):
    async def test_a_secret_is_needed(self) -> None:
        self.open()
        self.assertEqual((await self.ask("GET", "/metrics", headers=NOBODY)).status, 401)
        self.assertEqual((await self.ask("GET", "/metrics")).status, 200)

    async def test_the_format_is_prometheus_text(self) -> None:
        self.open()
        answer = await self.ask("GET", "/metrics")
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        names = {name for name, _ in samples_in(answer.text)}
        for name in (
            "openclaw_runs_total",
            "openclaw_build_info",
            "process_cpu_seconds_total",
            "python_info",
        ):
            self.assertIn(name, names)

    async def test_openmetrics_for_those_who_ask_for_it(self) -> None:
        self.open()
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        answer = await self.ask("GET", "/metrics", headers={"accept": accept})
        self.assertRegex(answer.headers["content-type"], "^application/openmetrics-text; version=1.0.0;")
        self.assertTrue(answer.text.endswith("# EOF\n"))

    async def test_plain_text_for_those_who_ask_for_what_there_is_not(self) -> None:
        self.open()
        for version in ("0.0.1", "any", "", "1.0.0;version=2"):
            headers = {"accept": f"application/openmetrics-text;version={version},text/plain;version=x"}
            self.assertEqual((await self.ask("GET", "/metrics", headers=headers)).status, 200, version)

    async def test_two_gateways_in_one_process_count_for_themselves(self) -> None:
        self.open(reply("ok"))
        other = LoopbackDoor()
        self.addCleanup(other.stop)
        await self.chat()
        labels = {"agent": "main", "status": "finished"}
        self.assertEqual(self.door.metrics.registry.get_sample_value("openclaw_runs_total", labels), 1)
        self.assertEqual(other.metrics.registry.get_sample_value("openclaw_runs_total", labels), 0)


class Public(MetricsCase):
    async def test_programs_on_this_machine_need_no_secret(self) -> None:
        self.open(settings=PUBLIC)
        for offered in ("", "Bearer wrong"):
            answer = await self.ask("GET", "/metrics", headers={"authorization": offered})
            self.assertEqual(answer.status, 200)

    async def test_browsers_and_proxies_on_this_machine_do(self) -> None:
        self.open(settings=PUBLIC)
        brought = {
            "origin": f"http://127.0.0.1:{self.door.port}",
            "cookie": "a=b",
            "sec-fetch-mode": "cors",
            "x-forwarded-for": "127.0.0.1",
            "forwarded": "for=127.0.0.1",
        }
        for name, value in brought.items():
            answer = await self.ask("GET", "/metrics", headers=NOBODY | {name: value})
            self.assertEqual(answer.status, 401, name)

    async def test_so_does_a_proxy_that_is_trusted(self) -> None:
        self.open(settings=PUBLIC | {"gateway": {"trustedProxies": ["127.0.0.1"]}})
        self.assertEqual((await self.ask("GET", "/metrics", headers=NOBODY)).status, 401)

    async def test_nothing_else_is_public(self) -> None:
        self.open(settings=PUBLIC)
        self.assertEqual((await self.ask("GET", "/v1/models", headers=NOBODY)).status, 401)


class Runs(MetricsCase):
    async def test_an_answer(self) -> None:
        self.open(reply("a", "b", usage=Usage(7, 2, 9)))
        await self.chat()
        self.assertEqual(await self.counted("runs_total", agent="main", status="finished"), 1)
        self.assertEqual(await self.counted("run_duration_seconds_count", status="finished"), 1)
        self.assertEqual(await self.counted("time_to_first_token_seconds_count"), 1)
        self.assertEqual(await self.counted("tokens_total", kind="prompt"), 7)
        self.assertEqual(await self.counted("tokens_total", kind="completion"), 2)
        self.assertEqual(await self.counted("http_responses_total", route=CHAT, status="200"), 1)

    async def test_a_failure(self) -> None:
        self.open([UpstreamError("gone")])
        self.assertEqual((await self.chat()).status, 502)
        self.assertEqual(await self.counted("runs_total", agent="main", status="failed"), 1)
        self.assertEqual(await self.counted("time_to_first_token_seconds_count"), 0)
        self.assertEqual(await self.counted("http_responses_total", route=CHAT, status="502"), 1)

    async def test_what_runs_and_what_waits(self) -> None:
        pause = Pause()
        self.open([pause, *reply("1")], reply("2"))
        asked = [self.stream({"x-openclaw-session-key": "one"}) for _ in range(2)]
        answers = [await answer for answer in asked]
        await self.until(lambda: pause.reached)
        self.assertEqual(await self.counted("runs_running"), 1)
        self.assertEqual(await self.counted("runs_waiting"), 1)
        self.assertEqual(await self.counted("http_connections"), 3)
        pause.go_on()
        for _response, events in answers:
            await events.rest()
        self.assertEqual(await self.counted("runs_running"), 0)
        self.assertEqual(await self.counted("runs_waiting"), 0)

    async def test_a_client_that_leaves_in_the_middle(self) -> None:
        half: list[Step] = [[TextDelta("half")], Pause()]
        self.open(half)
        wire = await self.wire(request_of(HELLO | {"stream": True}, self.door.TOKEN))
        await self.until(lambda: b"half" in wire.received)
        wire.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: not self.door.runs.runner.active())
        self.assertEqual(await self.counted("runs_total", agent="main", status="cancelled"), 1)
        self.assertEqual(await self.counted("http_responses_total", route=CHAT, status="200"), 1)


class Refusals(MetricsCase):
    async def test_a_refused_login(self) -> None:
        self.open()
        await self.ask("GET", "/v1/models", headers=NOBODY)
        self.assertEqual(await self.counted("failed_logins_total", code="unauthorized"), 0)
        await self.ask("GET", "/v1/models", headers={"authorization": "Bearer wrong"})
        self.assertEqual(await self.counted("failed_logins_total", code="unauthorized"), 1)
        self.assertEqual(await self.counted("http_responses_total", route="GET /v1/models", status="401"), 2)

    async def test_only_routes_become_labels(self) -> None:
        self.open()
        await self.ask("GET", "/v1/models/openclaw")
        await self.ask("GET", "/wp-login.php")
        await self.ask("DELETE", "/health")
        await self.ask("GET", "/", headers={"upgrade": "websocket", "connection": "upgrade"})
        counted = {
            dict(labels)["route"]
            for name, labels in await self.scrape()
            if name == "openclaw_http_responses_total"
        }
        self.assertEqual(counted, {"GET /v1/models/{id}", "none", "websocket"})
        self.assertEqual(await self.counted("http_responses_total", route="none", status="404"), 1)
        self.assertEqual(await self.counted("http_responses_total", route="none", status="405"), 1)

    async def test_what_is_answered_before_it_is_read(self) -> None:
        self.open(settings={"gateway": {"http": {"endpoints": {"chatCompletions": {"maxBodyBytes": 10}}}}})
        whole = request_of(HELLO, self.door.TOKEN)
        chunked = chunked_request(b"x" * 11, self.door.TOKEN)
        for data, status in ((whole, b"413"), (chunked, b"413"), (b"HELLO\r\n\r\n", b"400")):
            wire = await self.wire(data)
            await self.until(lambda wire=wire: b"}}" in wire.received)
            self.assertEqual(wire.received.count(b"HTTP/1.1 " + status), 1, wire.received)
        self.assertEqual(await self.counted("http_responses_total", route=CHAT, status="413"), 2)
        self.assertEqual(await self.counted("http_responses_total", route="none", status="400"), 1)


def request_of(body: Any, token: str) -> bytes:
    """Return a chat request as bytes."""
    data = json.dumps(body).encode()
    return _head(token, f"content-length: {len(data)}") + data


def chunked_request(data: bytes, token: str) -> bytes:
    """Return a chat request with its body in one chunk."""
    return _head(token, "transfer-encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def _head(token: str, *more: str) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "content-type: application/json"]
    return "\r\n".join([*lines, f"authorization: Bearer {token}", *more, "", ""]).encode()
