from __future__ import annotations

import datetime as dt
import json
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import Provider
from openclaw_twisted.cli.conversation import RefusedError
from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.question import Question, ask, read_reply
from openclaw_twisted.cli.target import Credential, Target
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.errors import UpstreamAuthError
from openclaw_twisted.providers.scripted import Scripted, reply
from openclaw_twisted.testing import real_reactor
from tests.cli.gateway import TOKEN, LoopbackGateway, Silent

__all__ = ["AskTests", "StrangersTests", "TlsTests"]


class AskTestCase(TestCase):
    """The real gateway, over a real socket."""

    timeout = 20

    async def gateway(self, model: Provider | None = None, **settings: Any) -> LoopbackGateway:
        gateway = LoopbackGateway(Path(self.mktemp()), model or Scripted(), **settings)
        self.addCleanup(lambda: Deferred.fromCoroutine(gateway.stop()))
        await gateway.start()
        return gateway

    def ask(
        self,
        gateway: LoopbackGateway,
        token: str | None = TOKEN,
        fingerprint: str | None = None,
        **question: Any,
    ) -> Deferred[bytes]:
        target = Target(
            url=gateway.url,
            host="127.0.0.1",
            port=gateway.port,
            tls=gateway.url.startswith("wss:"),
            is_ours=True,
            credential=Credential("the test", token=Secret(token)) if token else None,
            fingerprint=fingerprint,
        )
        given: dict[str, Any] = {"message": "hi", **question}
        return Deferred.fromCoroutine(ask(real_reactor(), target, Question(**given)))

    async def failure_of(self, asking: Deferred[bytes], kind: type[CommandError]) -> CommandError:
        failure = await self.assertFailure(asking, kind)
        assert isinstance(failure, kind)
        return failure


class AskTests(AskTestCase):
    async def test_the_reply(self) -> None:
        model = Scripted(reply("Hello, ", "you."))
        payload = await self.ask(await self.gateway(model), message="hi there")
        self.assertEqual("Hello, you.", read_reply(payload).text)
        self.assertEqual("ok", json.loads(payload)["status"])
        (request,) = model.requests
        self.assertEqual(("user", "hi there"), (request.messages[-1].role, request.messages[-1].content))

    async def test_a_session_goes_on(self) -> None:
        model = Scripted(reply("one"), reply("two"))
        gateway = await self.gateway(model)
        await self.ask(gateway, message="first", session_key="s")
        await self.ask(gateway, message="second", session_key="s")
        heard = [message.content for message in model.requests[1].messages if message.role != "system"]
        self.assertEqual(["first", "one", "second"], heard)

    async def test_the_wrong_token(self) -> None:
        gateway = await self.gateway()
        error = await self.failure_of(self.ask(gateway, token="x" * 40), CommandError)
        self.assertIn("did not accept the secret from the test (AUTH_TOKEN_MISMATCH)", error.message)
        self.assertIn("openclaw-gateway token show", error.message)

    async def test_no_token(self) -> None:
        gateway = await self.gateway()
        error = await self.failure_of(self.ask(gateway, token=None), CommandError)
        self.assertIn("asks for a token or password, and none was found", error.message)

    async def test_an_agent_that_there_is_not(self) -> None:
        gateway = await self.gateway()
        error = await self.failure_of(self.ask(gateway, agent_id="nobody"), CommandError)
        self.assertIn("nobody", error.message)

    async def test_a_run_that_fails(self) -> None:
        gateway = await self.gateway(Scripted([UpstreamAuthError("The model is out.")]))
        error = await self.failure_of(self.ask(gateway), RefusedError)
        self.assertEqual("The model is out.", error.message)
        assert isinstance(error, RefusedError)
        self.assertEqual("error", json.loads(error.payload)["status"])

    async def test_cancelling_stops_the_run(self) -> None:
        model = Silent()
        asking = self.ask(await self.gateway(model))
        await model.asked
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await model.stopped

    async def test_time_that_runs_out_stops_the_run(self) -> None:
        model = Silent()
        asking = self.ask(await self.gateway(model), timeout_seconds=0.2)
        error = await self.failure_of(asking, TimedOutError)
        self.assertIn("no reply within 0.2 s", error.message)
        await model.stopped

    async def test_a_gateway_that_stops(self) -> None:
        model = Silent()
        gateway = await self.gateway(model, shutdown={"drainSeconds": 0})
        asking = self.ask(gateway)
        await model.asked
        stopping = Deferred.fromCoroutine(gateway.stop())
        await self.failure_of(asking, CommandError)
        await stopping


def self_signed(folder: Path) -> tuple[dict[str, Any], str]:
    """Write a certificate that nobody vouches for; return `gateway.tls` and its SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway.test")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths = {"certPath": str(folder / "cert.pem"), "keyPath": str(folder / "key.pem")}
    return {"enabled": True, **paths}, certificate.fingerprint(hashes.SHA256()).hex().upper()


class TlsTests(AskTestCase):
    async def secured(self) -> tuple[LoopbackGateway, str]:
        tls, fingerprint = self_signed(Path(self.mktemp()))
        return await self.gateway(Scripted(reply("Safe.")), tls=tls), fingerprint

    async def test_the_certificate_that_is_named(self) -> None:
        gateway, fingerprint = await self.secured()
        payload = await self.ask(gateway, fingerprint=fingerprint)
        self.assertEqual("Safe.", read_reply(payload).text)

    async def test_another_certificate(self) -> None:
        gateway, _ = await self.secured()
        error = await self.failure_of(self.ask(gateway, fingerprint="AB" * 32), CommandError)
        self.assertIn("not the one that gateway.remote.tlsFingerprint names", error.message)

    async def test_a_certificate_that_nobody_vouches_for(self) -> None:
        gateway, _ = await self.secured()
        error = await self.failure_of(self.ask(gateway), CommandError)
        self.assertIn("its certificate is not trusted here", error.message)
        self.assertIn("gateway.remote.tlsFingerprint", error.message)


class Speaker(Protocol):
    """Says its line to whoever sends something, and hangs up."""

    def __init__(self, line: bytes) -> None:
        self.line = line

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self.line)
        self.transport.loseConnection()


class StrangersTests(TestCase):
    """Whoever else may be at the address."""

    timeout = 20

    async def ask(self, line: bytes, *, tls: bool = False) -> str:
        """Ask something that answers with this, and return the error's message."""
        factory: Any = Factory.forProtocol(partial(Speaker, line))
        port = real_reactor().listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{number}"
        target = Target(url=url, host="127.0.0.1", port=number, tls=tls)
        asking = Deferred.fromCoroutine(ask(real_reactor(), target, Question(message="hi")))
        error = await self.assertFailure(asking, CommandError)
        assert isinstance(error, CommandError)
        return error.message

    async def test_a_web_server(self) -> None:
        message = await self.ask(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        self.assertIn("404", message)
        self.assertIn("the gateway's port", message)

    async def test_something_else(self) -> None:
        self.assertIn("the gateway's port", await self.ask(b"220 mail.example.org ESMTP\r\n\r\n"))

    async def test_something_without_tls(self) -> None:
        message = await self.ask(b"HTTP/1.1 400 Bad Request\r\n\r\n", tls=True)
        self.assertIn("TLS failed", message)
        self.assertIn("else the address begins with ws://", message)

    async def test_something_that_hangs_up(self) -> None:
        self.assertIn("wss://", await self.ask(b""))
