import errno
import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import treq
from twisted.internet.error import CannotListenError
from twisted.internet.ssl import Certificate as Trusted
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import Site

from openclaw_twisted.certificate import Certificate
from openclaw_twisted.config.settings import GatewaySettings, TlsSettings
from openclaw_twisted.errors import NoSuchNetworkError
from openclaw_twisted.listening import address_of, endpoint_for, refusal, shown
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
        except NoSuchNetworkError as error:
            self.assertIn("gateway.bind", str(error))
        else:  # a developer's machine may be in one
            self.assertIn(ipaddress.ip_address(address), ipaddress.ip_network("100.64.0.0/10"))


class Refusals(SynchronousTestCase):
    def refused(self, address: str, port: int = 18789) -> str:
        listening = endpoint_for(
            real_reactor(), GatewaySettings(bind="custom", custom_bind_host=address, port=port)
        ).listen(Site(Resource()))
        return refusal(self.failureResultOf(listening, CannotListenError).value)

    def test_a_port_that_is_taken(self) -> None:
        taken = real_reactor().listenTCP(0, Site(Resource()), interface="127.0.0.1")
        self.addCleanup(taken.stopListening)
        port = taken.getHost().port
        self.assertEqual(
            self.refused("127.0.0.1", port),
            f"Cannot listen on 127.0.0.1 port {port} ({os.strerror(errno.EADDRINUSE)}). "
            "Stop what uses it, or set gateway.port.",
        )

    def test_an_address_that_this_machine_does_not_have(self) -> None:
        self.assertEqual(
            self.refused("192.0.2.1"),
            f"Cannot listen on 192.0.2.1 port 18789 ({os.strerror(errno.EADDRNOTAVAIL)}). "
            "This machine does not have that address now: set gateway.bind or customBindHost.",
        )

    def test_anything_else(self) -> None:
        self.assertEqual(
            refusal(CannotListenError("::1%9", 1, socket.gaierror(socket.EAI_NONAME, "Not known"))),
            "Cannot listen on ::1%9 port 1 (Not known). Check gateway.bind and gateway.port.",
        )


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
