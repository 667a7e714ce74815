"""The fetching of images over real connections, plain and encrypted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IPullProducer
from twisted.internet.ssl import PrivateCertificate, trustRootFromCertificates
from twisted.trial.unittest import TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from zope.interface import implementer

from openclaw_twisted.content import ImagePart, Message
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.public_addresses import IPAddress
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor
from tests.http.image_web import PARAM, PNG, Names, base64, messages
from tests.http.test_parts import limits

NAME = "images.test"


def on_loopback(address: IPAddress) -> bool:
    return address.is_loopback


def certificate(name: str) -> PrivateCertificate:
    """Return a certificate for `name` that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(
        made.public_bytes(serialization.Encoding.PEM) + pem
    )
    return loaded


@implementer(IPullProducer)
class Endless:
    """Writes for as long as somebody reads."""

    PIECE = bytes(65_536)

    def __init__(self, call: UpstreamCall) -> None:
        self.sent = 0
        self._transport = call.transport

    def resumeProducing(self) -> None:
        self.sent += len(self.PIECE)
        self._transport.write(self.PIECE)

    def stopProducing(self) -> None: ...


class SocketsCase(TestCase):
    timeout = 10

    def serve(
        self, behaviour: Callable[[UpstreamCall], object] | None = None, *, tls: Any = None
    ) -> FakeUpstream:
        """Start a host on loopback; `port` and `connections` tell about it."""
        host = FakeUpstream(behaviour)
        reactor = real_reactor()
        if tls is None:
            listening = reactor.listenTCP(0, host, interface="127.0.0.1")
        else:
            listening = reactor.listenSSL(0, host, tls, interface="127.0.0.1")
        self.port = listening.getHost().port

        async def stop() -> None:
            await maybeDeferred(listening.stopListening)
            for call in tuple(host.open):
                closed = call.closed
                call.reset()
                await closed

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return host

    def fetch(
        self, path: str = "/a.png", *, scheme: str = "http", tls: Any = None, **settings: Any
    ) -> Deferred[tuple[Message, ...]]:
        allowed = limits(allow_url=True, url_allowlist=(NAME,), **settings)
        fetcher = ImageFetcher(
            real_reactor(),
            allowed,
            may_connect=on_loopback,
            resolver=Names(images_test="127.0.0.1"),
            tls=tls,
        )
        given = messages(f"{scheme}://{NAME}:{self.port}{path}", allowed=allowed)
        return Deferred.fromCoroutine(fetcher.resolve(given))

    async def refused(self, fetching: Deferred[tuple[Message, ...]]) -> InvalidRequestError:
        try:
            await fetching
        except InvalidRequestError as error:
            self.assertEqual(error.param, PARAM)
            return error
        raise AssertionError("nothing was refused")


class Plain(SocketsCase):
    async def test_an_image(self) -> None:
        data = PNG + bytes(range(256)) * 10_000
        host = self.serve()
        fetching = self.fetch()
        call = await host.calls.get()
        self.assertEqual((call.path, call.headers["host"]), ("/a.png", f"{NAME}:{self.port}"))
        call.answer(200, data)
        (message,) = await fetching
        self.assertEqual(message.content, (ImagePart("image/png", base64(data)),))
        await call.closed

    async def test_this_machine_is_not_reached_unless_a_policy_says_so(self) -> None:
        """With the reactor's own resolver and the policy that everybody gets."""
        host = self.serve()
        allowed = limits(allow_url=True, url_allowlist=("localhost", "127.0.0.1"))
        fetcher = ImageFetcher(real_reactor(), allowed)
        for name in ("localhost", "127.0.0.1", "0x7f.1", "LOCALHOST."):
            given = messages(f"http://{name}:{self.port}/", allowed=allowed)
            error = await self.refused(Deferred.fromCoroutine(fetcher.resolve(given)))
            self.assertIn("no public address", error.message)
        self.assertEqual(host.connections, 0)

    async def test_a_redirect_to_this_machine(self) -> None:
        inner = self.serve()
        inner_port = self.port
        host = self.serve()
        fetching = self.fetch()
        call = await host.calls.get()
        call.answer(302, location=f"http://127.0.0.1:{inner_port}/")
        self.assertIn("urlAllowlist", (await self.refused(fetching)).message)
        self.assertEqual(inner.connections, 0)
        await call.closed

    async def test_a_body_without_end(self) -> None:
        host = self.serve()
        fetching = self.fetch(max_bytes=1_000_000)
        call = await host.calls.get()
        call.send(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
        endless = Endless(call)
        call.transport.registerProducer(endless, streaming=False)
        self.assertIn("exceeds 1000000 bytes", (await self.refused(fetching)).message)
        await call.closed
        self.assertLess(endless.sent, 20_000_000)  # what was on its way, in the kernel's buffers

    async def test_nobody_answers_in_time(self) -> None:
        host = self.serve()
        fetching = self.fetch(timeout_ms=50)
        call = await host.calls.get()
        self.assertIn("took longer than 0.05 s", (await self.refused(fetching)).message)
        await call.closed

    async def test_a_client_that_has_gone(self) -> None:
        host = self.serve()
        for begun in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PNG):
            fetching = self.fetch()
            call = await host.calls.get()
            call.send(begun)
            fetching.cancel()
            with self.assertRaises(CancelledError):
                await fetching
            await call.closed

    async def test_nobody_listens(self) -> None:
        unused = real_reactor().listenTCP(0, FakeUpstream(), interface="127.0.0.1")
        self.port = unused.getHost().port
        await maybeDeferred(unused.stopListening)
        self.assertIn("cannot be reached", (await self.refused(self.fetch())).message)


class Encrypted(SocketsCase):
    def serve_as(self, name: str) -> tuple[FakeUpstream, Any]:
        """Start a host with a certificate for `name`; return it and a policy that trusts that certificate."""
        own = certificate(name)
        options = own.options()
        self.asked_for: list[bytes | None] = []
        options.getContext().set_tlsext_servername_callback(
            lambda connection: self.asked_for.append(connection.get_servername())
        )
        trust = BrowserLikePolicyForHTTPS(trustRootFromCertificates([own]))
        return self.serve(lambda call: call.answer(200, PNG), tls=options), trust

    async def test_the_name_is_what_is_asked_for_and_verified(self) -> None:
        _, trust = self.serve_as(NAME)
        (message,) = await self.fetch(scheme="https", tls=trust)
        self.assertEqual(message.content, (ImagePart("image/png", base64(PNG)),))
        self.assertEqual(self.asked_for, [NAME.encode()])

    async def test_a_certificate_for_another_name(self) -> None:
        _, trust = self.serve_as("other.test")
        error = await self.refused(self.fetch(scheme="https", tls=trust))
        self.assertIn("no certificate that can be trusted", error.message)

    async def test_a_certificate_that_nobody_vouches_for(self) -> None:
        self.serve_as(NAME)
        error = await self.refused(self.fetch(scheme="https"))
        self.assertIn("no certificate that can be trusted", error.message)

    async def test_no_way_from_https_to_http(self) -> None:
        own = certificate(NAME)
        trust = BrowserLikePolicyForHTTPS(trustRootFromCertificates([own]))
        self.serve(lambda call: call.answer(301, location=f"http://{NAME}:{self.port}/"), tls=own.options())
        error = await self.refused(self.fetch(scheme="https", tls=trust))
        self.assertIn("redirects from https to http", error.message)

    async def test_a_client_that_has_gone(self) -> None:
        own = certificate(NAME)
        trust = BrowserLikePolicyForHTTPS(trustRootFromCertificates([own]))
        host = self.serve(tls=own.options())
        fetching = self.fetch(scheme="https", tls=trust)
        call = await host.calls.get()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PNG)
        fetching.cancel()
        with self.assertRaises(CancelledError):
            await fetching
        await call.closed
