import ipaddress
from pathlib import Path
from typing import Any

import treq
from twisted.internet.ssl import Certificate as Trusted
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import Site

from openclaw_twisted.certificate import Certificate
from openclaw_twisted.config.settings import GatewaySettings, TlsSettings
from openclaw_twisted.errors import ConfigError
from openclaw_twisted.listening import address_of, endpoint_for, shown
from openclaw_twisted.testing import real_reactor
from tests.certificates import certificate


class Hello(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def render_GET(self, _request: Any) -> bytes:
        return b"hello"


class Addresses(SynchronousTestCase):
    def test_what_bind_means(self) -> None:
        table: dict[Any, str] = {"loopback": "127.0.0.1", "auto": "127.0.0.1", "lan": "0.0.0.0"}
        for bind, address in table.items():
            self.assertEqual(address_of(GatewaySettings(bind=bind)), address)
        self.assertEqual(address_of(GatewaySettings(bind="custom", custom_bind_host="::1")), "::1")

    def test_an_address_as_it_stands_in_a_url(self) -> None:
        table = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]", "10.0.0.7": "10.0.0.7"}
        for address, text in table.items():
            self.assertEqual(shown(address), text)

    def test_a_tailnet_that_there_is_not(self) -> None:
        try:
            address = address_of(GatewaySettings(bind="tailnet"))
        except ConfigError as error:
            self.assertIn("gateway.bind", str(error))
        else:  # a developer's machine may be in one
            self.assertIn(ipaddress.ip_address(address), ipaddress.ip_network("100.64.0.0/10"))


class Encrypted(TestCase):
    timeout = 10

    async def test_https_with_files_of_ones_own(self) -> None:
        cert, key = certificate(Path(self.mktemp()))
        tls = TlsSettings(enabled=True, cert_path=str(cert), key_path=str(key))
        endpoint = endpoint_for(real_reactor(), GatewaySettings(port=1), Certificate(tls))
        endpoint._port = 0  # type: ignore[attr-defined] # a free one; the setting takes none
        port: Any = await endpoint.listen(Site(Hello()))
        self.addCleanup(port.stopListening)
        trusted = trustRootFromCertificates([Trusted.loadPEM(cert.read_bytes())])
        client = treq.client.HTTPClient(Agent(real_reactor(), BrowserLikePolicyForHTTPS(trusted)))
        response = await client.get(f"https://127.0.0.1:{port.getHost().port}/")
        self.assertEqual(await response.text(), "hello")
        await deferLater(real_reactor(), 0.01)  # the connection closes after its answer
