"""Where the gateway listens: the address that `gateway.bind` means, plain or with TLS."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IOpenSSLContextFactory, IStreamServerEndpoint

from openclaw_twisted.config.settings import GatewaySettings
from openclaw_twisted.errors import NoSuchNetworkError, Problem

__all__ = ["address_of", "endpoint_for", "refusal", "shown"]

# Twisted's default of 50 is soon full when many clients connect at once.
BACKLOG = 1024
LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"  # noqa: S104 - what `lan` means; auth is required for it
_HERE = {ANY: LOOPBACK, "::": "::1"}
"""By which address this machine reaches itself where every address is listened on."""
_NEXT = {
    errno.EADDRINUSE: "Stop what uses it, or set gateway.port.",
    errno.EADDRNOTAVAIL: "This machine does not have that address now: set gateway.bind or customBindHost.",
    errno.EACCES: "A port below 1024 needs a privilege: set gateway.port, or grant CAP_NET_BIND_SERVICE.",
}
_TAILSCALE = ipaddress.ip_network("100.64.0.0/10")
_TAILSCALE_RESOLVER = "100.100.100.100"


def address_of(settings: GatewaySettings) -> str:
    """Return the address to bind to; raises `NoSuchNetworkError` when `bind` asks for one there is not."""
    match settings.bind:
        case "lan":
            return ANY
        case "custom":
            return settings.custom_bind_host or LOOPBACK
        case "tailnet":
            return _tailnet_address()
        case _:
            return LOOPBACK


def endpoint_for(
    reactor: Any, settings: GatewaySettings, certificate: IOpenSSLContextFactory | None = None
) -> IStreamServerEndpoint:
    """Return the endpoint to listen on: with TLS if there is a certificate."""
    address = address_of(settings)
    port = settings.port
    if certificate is not None:
        return SSL4ServerEndpoint(reactor, port, certificate, backlog=BACKLOG, interface=address)
    if ":" in address:
        return TCP6ServerEndpoint(reactor, port, backlog=BACKLOG, interface=address)
    return TCP4ServerEndpoint(reactor, port, backlog=BACKLOG, interface=address)


def refusal(error: CannotListenError) -> str:
    """Say why a port cannot be listened on, and what to do next."""
    cause = error.socketError
    follows = _NEXT.get(cause.errno, "Check gateway.bind and gateway.port.")
    return f"Cannot listen on {error.interface} port {error.port} ({cause.strerror}). {follows}"


def shown(address: str) -> str:
    """Return the address as it stands in a URL that works on this machine."""
    here = _HERE.get(address, address)
    return f"[{here}]" if ":" in here else here


def _tailnet_address() -> str:
    # Connecting a datagram socket sends nothing; it asks the kernel which address it would use.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_TAILSCALE_RESOLVER, 53))
            address = str(probe.getsockname()[0])
        except OSError:
            address = ""
    if not address or ipaddress.ip_address(address) not in _TAILSCALE:
        message = 'is "tailnet", but this machine has no Tailscale address. Start Tailscale, or use "lan".'
        raise NoSuchNetworkError("gateway.bind", (Problem("gateway.bind", message),))
    return address
