"""The door on real sockets, with Autobahn's own client at the other end."""

from __future__ import annotations

import datetime as dt
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.ssl import CertificateOptions
from twisted.trial.unittest import TestCase

from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import real_reactor
from tests.ws.rig import Rig, connect_params
from tests.ws.socket_client import Client, connect_client


def self_signed() -> CertificateOptions:
    """Return a certificate that nobody vouches for, and its key."""
    key: Any = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway.test")])
    today = dt.datetime.now(dt.UTC)
    certificate: Any = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return CertificateOptions(privateKey=key, certificate=certificate)


class LoopbackCase(TestCase):
    timeout = 20

    port: Any
    tls = False

    def open(self, *scripts: Any, **limits: Any) -> Rig:
        reactor = real_reactor()
        rig = Rig(*scripts, gateway={"limits": limits}, clock=reactor)
        if self.tls:
            self.port = reactor.listenSSL(0, rig.site, self_signed(), interface="127.0.0.1")
        else:
            self.port = reactor.listenTCP(0, rig.site, interface="127.0.0.1")
        self.addCleanup(self.stop, rig)
        return rig

    def stop(self, rig: Rig) -> Deferred[None]:
        async def stop() -> None:
            await maybeDeferred(self.port.stopListening)
            for run in rig.runs.runner.active():
                run.cancel()
            await rig.door.close_all()
            await rig.site.drop_connections()

        return Deferred.fromCoroutine(stop())

    async def connect(self, **headers: str) -> Client:
        return await connect_client(self.port.getHost().port, tls=self.tls, headers=headers)

    async def log_in(self, **params: Any) -> Client:
        client = await self.connect()
        self.assertEqual((await client.heard.get())["event"], "connect.challenge")
        hello = await client.ask("1", "connect", **connect_params(**params))
        self.assertEqual(hello["payload"]["type"], "hello-ok")
        return client


class LoopbackTests(LoopbackCase):
    async def test_a_message_and_its_reply(self) -> None:
        self.open(reply("Hello", " you"))
        client = await self.log_in()
        accepted = await client.ask("2", "agent", message="hi", idempotencyKey="k")
        final = await client.heard.get()
        self.assertEqual((accepted["payload"]["status"], final["payload"]["status"]), ("accepted", "ok"))
        self.assertEqual(final["payload"]["result"]["payloads"][0]["text"], "Hello you")
        client.sendClose(1000)
        self.assertEqual((await client.closed)[0], 1000)

    async def test_a_large_message_and_a_large_reply(self) -> None:
        text = "ü" * 2_000_000
        rig = self.open(reply(text))
        client = await self.log_in()
        await client.ask("2", "agent", message=text, idempotencyKey="k")
        final = await client.heard.get()
        self.assertEqual(final["payload"]["result"]["payloads"][0]["text"], text)
        self.assertEqual(rig.runs.provider.requests[0].messages[-1].content, text)

    async def test_a_message_that_is_too_large(self) -> None:
        self.open(maxPayloadBytes=100_000)
        client = await self.log_in()
        client.sendMessage(b" " * 1_000_000)
        self.assertEqual((await client.closed)[0], 1009)

    async def test_a_wrong_token(self) -> None:
        self.open()
        client = await self.connect()
        await client.heard.get()
        refused = await client.ask("1", "connect", **connect_params(auth={"token": "wrong"}))
        code, reason = await client.closed
        self.assertEqual((code, reason), (1008, refused["error"]["message"]))

    async def test_a_page_of_another_origin(self) -> None:
        self.open()
        client = await self.connect(Origin="https://evil.example.com")
        code, reason = await client.closed
        self.assertEqual(code, 1006)
        self.assertIn("403", reason or "")

    async def test_a_client_that_does_not_read(self) -> None:
        rig = self.open(maxBufferedBytes=2_000_000)
        client = await self.log_in()
        client.transport.pauseProducing()
        (connection,) = rig.door._connections
        frame = b'"' + b"x" * 250_000 + b'"'
        for _ in range(40):
            connection.send(frame)
        client.transport.resumeProducing()
        self.assertEqual(await client.closed, (1008, "slow consumer"))
        self.assertLess(len(client.heard.pending), 40)

    async def test_shutdown(self) -> None:
        rig = self.open()
        client = await self.log_in()
        done = rig.door.close_all()
        self.assertEqual((await client.heard.get())["event"], "shutdown")
        self.assertEqual(await client.closed, (1012, "service restart"))
        await done

    async def test_a_client_that_is_gone_leaves_its_run_behind(self) -> None:
        pause = Pause()
        rig = self.open([pause, *reply("Hello")])
        client = await self.log_in()
        await client.ask("2", "agent", message="hi", idempotencyKey="k")
        client.transport.abortConnection()
        await client.closed
        client = await self.log_in(protocol=3)
        await client.ask("2", "agent", message="hi", idempotencyKey="k")
        pause.go_on()
        self.assertEqual((await client.heard.get())["payload"]["status"], "ok")
        self.assertEqual(len(rig.runs.provider.requests), 1)


class TlsTests(LoopbackCase):
    tls = True

    async def test_a_large_message_and_a_large_reply(self) -> None:
        text = "x" * 1_000_000
        self.open(reply(text))
        client = await self.log_in()
        await client.ask("2", "agent", message=text, idempotencyKey="k")
        final = await client.heard.get()
        self.assertEqual(final["payload"]["result"]["payloads"][0]["text"], text)

    async def test_pages_served_over_http_are_not_ours(self) -> None:
        self.open()
        ours = f"127.0.0.1:{self.port.getHost().port}"
        client = await self.connect(Origin=f"http://{ours}")
        self.assertIn("403", (await client.closed)[1] or "")
        client = await self.connect(Origin=f"https://{ours}")
        self.assertEqual((await client.heard.get())["event"], "connect.challenge")
