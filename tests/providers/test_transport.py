"""TLS and proxies on real sockets: who is trusted, who is asked, and who never hears anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import (
    ProviderProxySettings,
    ProviderRequestSettings,
    ProviderSettings,
    ProviderTlsSettings,
)
from openclaw_twisted.errors import ConfigError, UpstreamError
from openclaw_twisted.events import TextDelta
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.transport import is_loopback, proxy_finder, trust_of
from openclaw_twisted.providers.tunnel import Proxy
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor, stream_of, user
from tests.certificates import certificate

__all__ = ["FindingTests", "ProxyTests", "TlsTests", "TrustTests"]


class Far(Protocol):
    """The proxy's connection to the other side."""

    transport: Any

    def __init__(self, near: ConnectProxy) -> None:
        self.near = near

    def dataReceived(self, data: bytes) -> None:
        self.near.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.near.transport.loseConnection()


class ConnectProxy(Protocol):
    """One connection to a proxy that knows CONNECT and nothing else."""

    transport: Any

    def __init__(self, heads: list[str]) -> None:
        self.heads = heads
        self.far: Any = None
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if self.far is not None:
            self.far.transport.write(data)
            return
        head = data.decode()
        self.heads.append(head)
        host, _, port = head.split(" ")[1].partition(":")
        far = TCP4ClientEndpoint(real_reactor(), "127.0.0.1", int(port)) if host else None
        assert far is not None
        far.connect(Factory.forProtocol(lambda: Far(self))).addCallback(self.through)

    def through(self, far: Any) -> None:
        self.far = far
        self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.far is not None:
            self.far.transport.loseConnection()


class TransportCase(TestCase):
    timeout = 10

    def setUp(self) -> None:
        self.calls: list[UpstreamCall] = []
        self.server = FakeUpstream(self.answer)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))
        self.folder = Path(self.mktemp())

    def answer(self, call: UpstreamCall) -> None:
        self.calls.append(call)
        call.stream(*stream_of("ok"))
        call.end()

    def listen_with_tls(self, *names: str, clients: Path | None = None) -> Path:
        """Listen with TLS and return the path of the certificate."""
        cert, key = certificate(self.folder, *names)
        ours = PrivateCertificate.loadPEM(cert.read_bytes() + key.read_bytes())
        options = (
            ours.options() if clients is None else ours.options(Certificate.loadPEM(clients.read_bytes()))
        )
        self.listen(options)
        return cert

    def listen(self, options: CertificateOptions | None = None) -> None:
        reactor = real_reactor()
        if options is None:
            self.server.listen(reactor)
        else:
            self.server._port = reactor.listenSSL(0, self.server, options, interface="127.0.0.1")

    async def ask(
        self,
        base_url: str | None = None,
        *,
        environ: dict[str, str] | None = None,
        proxy_url: Secret | None = None,
        seconds: float = 10.0,
        **request: Any,
    ) -> list[object]:
        settings = ProviderSettings(
            base_url=base_url or self.server.base_url,
            api_key=Secret("sk-the-key"),
            request=ProviderRequestSettings(**request),
            connect_timeout_seconds=seconds,
        )
        configured = Configured(real_reactor(), {"mock": settings}, environ=environ, proxy_url=proxy_url)
        question = ModelRequest(model="m", messages=(user("hi"),))
        try:
            provider = configured.providers["mock"]
            events = [event async for batch in provider.respond(question) for event in batch]
        finally:
            await configured.close()
        await deferLater(real_reactor(), 0)
        return [event for event in events if isinstance(event, TextDelta)]

    @property
    def https(self) -> str:
        return self.server.base_url.replace("http://", "https://")

    async def assert_refused(self, *args: Any, **more: Any) -> UpstreamError:
        """Say that nothing was sent."""
        calls = len(self.calls)
        try:
            await self.ask(*args, **more)
        except UpstreamError as error:
            self.assertEqual(len(self.calls), calls)
            return error
        raise AssertionError("it was answered")


class TlsTests(TransportCase):
    async def test_a_server_nobody_vouches_for_hears_nothing(self) -> None:
        self.listen_with_tls()
        error = await self.assert_refused(self.https)
        self.assertIn("certificate verify failed", error.message)
        self.assertIn("models.providers.mock.request.tls", error.message)

    async def test_an_authority_of_ones_own(self) -> None:
        cert = self.listen_with_tls()
        for ca in (str(cert), cert.read_text()):
            self.assertEqual(
                await self.ask(self.https, tls=ProviderTlsSettings(ca=Secret(ca))), [TextDelta("ok")]
            )

    async def test_a_server_of_another_name_hears_nothing(self) -> None:
        ca = Secret(str(self.listen_with_tls("api.example.org")))
        await self.assert_refused(
            self.https.replace("127.0.0.1", "localhost"), tls=ProviderTlsSettings(ca=ca)
        )
        named = ProviderTlsSettings(ca=ca, server_name="api.example.org")
        self.assertEqual(await self.ask(self.https, tls=named), [TextDelta("ok")])
        error = await self.assert_refused(
            self.https, tls=ProviderTlsSettings(ca=ca, server_name="other.example.org")
        )
        self.assertIn("its certificate is for another name", error.message)

    async def test_a_certificate_of_ours(self) -> None:
        our_cert, our_key = certificate(self.folder / "ours")
        ca = Secret(str(self.listen_with_tls(clients=our_cert)))
        await self.assert_refused(self.https, tls=ProviderTlsSettings(ca=ca))
        both = ProviderTlsSettings(ca=ca, cert=Secret(str(our_cert)), key=Secret(our_key.read_text()))
        self.assertEqual(await self.ask(self.https, tls=both), [TextDelta("ok")])


class ProxyTests(TransportCase):
    def setUp(self) -> None:
        super().setUp()
        self.heads: list[str] = []
        self.proxies: list[ConnectProxy] = []
        port = real_reactor().listenTCP(0, Factory.forProtocol(self.new_proxy), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.place = f"127.0.0.1:{port.getHost().port}"

    def new_proxy(self) -> ConnectProxy:
        return ConnectProxy(self.heads)

    def explicit(self, credentials: str = "") -> ProviderProxySettings:
        return ProviderProxySettings(mode="explicit-proxy", url=Secret(f"http://{credentials}{self.place}"))

    async def test_tls_through_a_proxy(self) -> None:
        ca = Secret(str(self.listen_with_tls()))
        heard = await self.ask(self.https, proxy=self.explicit("ann:p%40ss@"), tls=ProviderTlsSettings(ca=ca))
        self.assertEqual(heard, [TextDelta("ok")])
        (head,) = self.heads
        target = self.https.removeprefix("https://").removesuffix("/v1")
        self.assertEqual(head.splitlines()[0], f"CONNECT {target} HTTP/1.1")
        self.assertIn("Proxy-Authorization: Basic YW5uOnBAc3M=", head)
        self.assertNotIn("sk-the-key", head)
        self.assertNotIn("proxy-authorization", self.calls[0].headers)

    async def test_the_name_is_for_the_proxy_to_look_up(self) -> None:
        self.listen()
        url = self.server.base_url.replace("127.0.0.1", "nowhere.invalid")
        self.assertEqual(await self.ask(url, proxy=self.explicit()), [TextDelta("ok")])
        self.assertIn("CONNECT nowhere.invalid:", self.heads[0])

    async def test_the_environments_proxy_only_when_the_settings_say_so(self) -> None:
        self.listen()
        environ = {"HTTP_PROXY": f"http://{self.place}"}
        await self.ask(environ=environ)
        self.assertEqual(self.heads, [])
        await self.ask(environ=environ, proxy=ProviderProxySettings(mode="env-proxy"))
        self.assertEqual(len(self.heads), 1)
        environ["NO_PROXY"] = "127.0.0.1"
        await self.ask(environ=environ, proxy=ProviderProxySettings(mode="env-proxy"))
        self.assertEqual(len(self.heads), 1)

    async def test_the_proxy_of_everything_is_for_whoever_has_none_and_for_other_machines(self) -> None:
        self.listen()
        away = self.server.base_url.replace("127.0.0.1", "nowhere.invalid")
        everything = Secret(f"http://{self.place}")
        self.assertEqual(await self.ask(away, proxy_url=everything), [TextDelta("ok")])
        await self.ask(proxy_url=everything)
        self.assertEqual(len(self.heads), 1)
        await self.ask(away, proxy_url=Secret("http://127.0.0.1:1"), proxy=self.explicit())
        self.assertEqual(len(self.heads), 2)

    async def test_without_its_proxy_nothing_is_reached(self) -> None:
        self.listen()
        refusing = real_reactor().listenTCP(0, Factory.forProtocol(Refusing), interface="127.0.0.1")
        self.addCleanup(refusing.stopListening)
        place = f"http://ann:s3cret@127.0.0.1:{refusing.getHost().port}"
        proxy = ProviderProxySettings(mode="explicit-proxy", url=Secret(place))
        error = await self.assert_refused(proxy=proxy)
        self.assertIn("the proxy answered 407. Check models.providers.mock.request.proxy", error.message)
        self.assertNotIn("s3cret", error.message)


class Refusing(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 407 No\r\n\r\n")


class FindingTests(SynchronousTestCase):
    """Which proxy the environment means."""

    def find(self, scheme: str, host: str, **environ: str) -> Proxy | None:
        request = ProviderRequestSettings(proxy=ProviderProxySettings(mode="env-proxy"))
        find = proxy_finder(request, environ, "the.path")
        assert find is not None
        return find(scheme, host, 443)

    def test_by_scheme(self) -> None:
        both = {"HTTPS_PROXY": "http://s:1", "http_proxy": "p:2"}
        self.assertEqual(self.find("https", "x.org", **both), Proxy("s", 1))
        self.assertEqual(self.find("http", "x.org", **both), Proxy("p", 2))
        self.assertEqual(self.find("http", "x.org", ALL_PROXY="http://a"), Proxy("a", 8080))
        self.assertIsNone(self.find("https", "x.org"))

    def test_those_that_are_spared(self) -> None:
        for no, host, spared in (
            ("x.org", "x.org", True),
            ("x.org", "api.x.org", True),
            (".x.org", "api.x.org", True),
            ("a.org, x.org", "x.org", True),
            ("*", "x.org", True),
            ("x.org:443", "x.org", True),
            ("x.org:80", "x.org", False),
            ("x.org", "ax.org", False),
            ("", "x.org", False),
        ):
            found = self.find("https", host, HTTPS_PROXY="http://s:1", NO_PROXY=no)
            self.assertEqual(found is None, spared, (no, host))

    def test_this_machine_itself(self) -> None:
        for host in ("127.0.0.1", "127.8.9.1", "[::1]", "::1", "localhost", "LOCALHOST"):
            self.assertTrue(is_loopback(host), host)
        for host in ("10.0.0.1", "example.org", "localhost.example.org", "[::2]", ""):
            self.assertFalse(is_loopback(host), host)

    def test_what_is_no_http_proxy(self) -> None:
        for url in ("socks5://s:1", "https://s:1", "http://", "http://s:port"):
            with self.assertRaises(ConfigError, msg=url):
                self.find("https", "x.org", HTTPS_PROXY=url)


class TrustTests(SynchronousTestCase):
    def test_what_is_no_certificate(self) -> None:
        _, key = certificate(Path(self.mktemp()))
        broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        for ca in ("/nowhere/ca.pem", str(key), broken, "-----BEGIN x"):
            with self.assertRaises(ConfigError, msg=ca) as caught:
                trust_of(ProviderTlsSettings(ca=Secret(ca)), "models.providers.p.request.tls")
            self.assertIn("models.providers.p.request.tls", str(caught.exception))
