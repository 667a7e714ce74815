"""Where a request comes from, and what it says it is for: client address, Host and Origin.

The three checks stand together because they fail together. A web page reaches a gateway on the visitor's
own machine by rebinding a name (the Host check stops it), by asking across origins (the Origin check stops
it), or by hoping that a request from this machine is trusted (being local is never a credential here, it
only spares an honest local program the lockout).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from openclaw_twisted.errors import (
    ConfigError,
    ForbiddenError,
    InvalidRequestError,
    MisdirectedError,
    Problem,
)

__all__ = [
    "Authority",
    "ClientAddress",
    "HostRule",
    "IPAddress",
    "OriginRule",
    "TrustedProxies",
    "client_address",
    "parse_authority",
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_log = Logger()

# Every request brings an address and a host, and nearly always the same ones.
REMEMBERED = 256

_UNKNOWN = ipaddress.IPv4Address(0)
# As Twisted's `Headers` spell them.
_FORWARDING = frozenset(
    (b"X-Forwarded-For", b"Forwarded", b"X-Real-Ip", b"X-Forwarded-Host", b"X-Forwarded-Proto")
)
_BROWSER = frozenset((b"Origin", b"Cookie", b"Sec-Fetch-Site", b"Sec-Fetch-Mode", b"Sec-Fetch-Dest"))

_MAX_NAME_LENGTH = 253  # RFC 1035
_MAX_PORT = 65535
_LOCAL_SUFFIXES = (".local", ".ts.net")
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")  # compose services have underscores
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([\x21-\x7e]+)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ClientAddress(msgspec.Struct, frozen=True):
    """Who is at the other end.

    `peer` is the socket's end, `ip` the client as a trusted proxy tells it (the peer itself without one).
    `local` is true for a program on this machine that speaks to us directly and is no browser. `proxied`
    is true when the peer is a trusted proxy, `unattributed` when a peer that is none sent forwarding
    headers, which were ignored. `nameless` is true for whoever comes through a proxy of this machine, or a
    trusted one, that does not tell who it is: `ip` is a proxy's then.
    """

    ip: IPAddress
    peer: IPAddress
    local: bool = False
    proxied: bool = False
    unattributed: bool = False
    nameless: bool = False

    @property
    def network(self) -> str:
        """What failures are counted by: the IPv4 address, or the /64 that an IPv6 host may roam in.

        Those behind a proxy are counted apart from the programs on its machine, whom they could lock out.
        """
        if isinstance(self.ip, ipaddress.IPv4Address):
            network = str(self.ip)
        else:
            network = f"{ipaddress.IPv6Address(int(self.ip) >> 64 << 64)}/64"
        return f"whoever is behind {network}" if self.nameless else network


class TrustedProxies:
    """The peers whose forwarding headers are believed: `gateway.trustedProxies`."""

    def __init__(self, entries: Sequence[str] = (), *, real_ip: bool = False) -> None:
        """`real_ip` also believes `X-Real-IP`. Raises `ConfigError` for entries that are no network."""
        problems = []
        self.networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for index, entry in enumerate(entries):
            try:
                self.networks.append(ipaddress.ip_network(entry.strip(), strict=False))
            except ValueError:
                message = f'"{entry}" is neither an IP address nor a network like 10.0.0.0/8.'
                problems.append(Problem(f"gateway.trustedProxies[{index}]", message))
        if problems:
            raise ConfigError("gateway.trustedProxies", tuple(problems))
        self.real_ip = real_ip

    def __contains__(self, ip: IPAddress) -> bool:
        return any(ip in network for network in self.networks)


def client_address(peer: str, headers: Headers, trusted: TrustedProxies) -> ClientAddress:
    """Tell who is at the other end of the connection from `peer`, the socket's IP address.

    With a trusted peer that is the right-most hop that is not itself a trusted proxy: whatever stands
    left of it, the client could have written. A hop that cannot be read ends the search at the last proxy.
    """
    ip, on_this_machine = _parse_peer(peer)
    given = dict(headers.getAllRawHeaders())
    forwarded = not _FORWARDING.isdisjoint(given)
    if trusted.networks and ip in trusted:
        client = _behind(ip, headers, trusted)
        return ClientAddress(client, ip, proxied=True, nameless=forwarded and client in trusted)
    local = on_this_machine and not forwarded and _BROWSER.isdisjoint(given)
    return ClientAddress(ip, ip, local=local, unattributed=forwarded, nameless=forwarded and on_this_machine)


def _behind(proxy: IPAddress, headers: Headers, trusted: TrustedProxies) -> IPAddress:
    told = [
        _right_most_untrusted(proxy, hops, trusted)
        for hops in (_list(headers, b"x-forwarded-for"), _forwarded_for(headers))
        if hops
    ]
    if not told and trusted.real_ip:
        told = [_right_most_untrusted(proxy, _list(headers, b"x-real-ip")[-1:], trusted)]
    # A proxy maintains one of the two headers and may let the client's own version of the other through.
    return told[0] if told and all(ip == told[0] for ip in told) else proxy


def _right_most_untrusted(proxy: IPAddress, hops: list[str], trusted: TrustedProxies) -> IPAddress:
    client = proxy
    for hop in reversed(hops):
        ip = _parse_hop(hop)
        if ip is None:
            return client
        client = ip
        if ip not in trusted:
            return client
    return client


def _list(headers: Headers, name: bytes) -> list[str]:
    joined = b",".join(headers.getRawHeaders(name) or ()).decode("latin-1")
    return [item for item in (part.strip() for part in joined.split(",")) if item]


def _forwarded_for(headers: Headers) -> list[str]:
    hops = []
    for element in _list(headers, b"forwarded"):
        pairs = (pair.partition("=") for pair in element.split(";"))
        found = [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"]
        hops.append(found[0] if len(found) == 1 else "unknown")
    return hops


def _parse_hop(text: str) -> IPAddress | None:
    """Read `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    if text.startswith("["):
        return _parse_ip(text[1:].partition("]")[0])
    return _parse_ip(text.partition(":")[0] if text.count(":") == 1 else text)


@lru_cache(maxsize=REMEMBERED)
def _parse_ip(text: str) -> IPAddress | None:
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


@lru_cache(maxsize=REMEMBERED)
def _parse_peer(text: str) -> tuple[IPAddress, bool]:
    """Read the address of a socket's other end, and tell whether that is on this machine."""
    ip = _parse_ip(text) or _UNKNOWN
    return ip, ip.is_loopback


class Authority(NamedTuple):
    """The host (lower case, without brackets and closing dot) and port that a Host or Origin names."""

    host: str
    port: int | None
    is_ip: bool


@lru_cache(maxsize=REMEMBERED)
def parse_authority(text: str) -> Authority | None:
    """Read `host`, `host:port`, `1.2.3.4:port` or `[::1]:port`; None when it is anything else."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    bracketed, name, digits = found.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port <= _MAX_PORT:
        return None
    host = bracketed or name.removesuffix(".")
    ip = _parse_literal(host)
    if ip is not None and (bracketed is None) == isinstance(ip, ipaddress.IPv4Address):
        return Authority(str(ip), port, is_ip=True)
    if bracketed or len(host) > _MAX_NAME_LENGTH or not all(map(_LABEL.fullmatch, host.split("."))):
        return None
    return Authority(host, port, is_ip=False)


def _parse_literal(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


class HostRule:
    """Which names the gateway answers to, so that no foreign name can be rebound to it.

    IP addresses, single-label names (`localhost`, compose services), `*.local`, `*.ts.net`, the machine's
    own name and `gateway.http.allowedHosts` are answered; none of them can be had from a public registrar.
    """

    KEY = "gateway.http.allowedHosts"

    def __init__(self, allowed_hosts: Sequence[str] = (), *, machine_name: str = "") -> None:
        """`machine_name` is this machine's own. Raises `ConfigError` for entries that are no host name."""
        self._names = {machine_name.lower().removesuffix(".")}
        problems = []
        for index, entry in enumerate(allowed_hosts):
            authority = parse_authority(_to_ascii(entry.strip()))
            if authority is None:
                message = f'"{entry}" is no host name. Write it without scheme and path, like gw.example.org.'
                problems.append(Problem(f"{self.KEY}[{index}]", message))
            else:
                self._names.add(authority.host)
        if problems:
            raise ConfigError(self.KEY, tuple(problems))

    def check(self, headers: Headers, *, required: bool = True) -> Authority | None:
        """Return what the request's Host names; None when there is none and none is `required` (HTTP/1.0).

        Raises `InvalidRequestError` for an unreadable, doubled or missing Host and `MisdirectedError` for a
        name that is not ours.
        """
        values = headers.getRawHeaders(b"host") or ()
        if not values and not required:
            return None
        authority = parse_authority(values[0].strip(b" \t").decode("latin-1")) if len(values) == 1 else None
        if authority is None:
            raise InvalidRequestError("The request needs exactly one valid Host header.")
        host = authority.host
        if authority.is_ip or "." not in host or host.endswith(_LOCAL_SUFFIXES) or host in self._names:
            return authority
        raise MisdirectedError(
            f'This gateway does not answer to the host name "{host}". '
            f"If it is yours, add it to {self.KEY} in the configuration."
        )


def _to_ascii(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


class OriginRule:
    """Which web pages may send requests: those we served ourselves, and those that are listed."""

    def __init__(self, key: str, allowed: Sequence[str] = (), *, strict: bool = True) -> None:
        """`key` is the setting that `allowed` comes from.

        Raises `ConfigError` for what is no origin, unless it need not be `strict`: then that lets nobody in.
        """
        self._key = key
        self._allowed: set[str] = set()
        problems = []
        for index, entry in enumerate(allowed):
            origin = _parse_origin(entry.strip().removesuffix("/"))
            if entry.strip() == "*":
                _log.warn('"*" in {key} is ignored: list each origin that may send requests.', key=key)
            elif origin is None and strict:
                message = f'"{entry}" is no origin. Write it like https://app.example.org, without a path.'
                problems.append(Problem(f"{key}[{index}]", message))
            elif origin is not None:
                self._allowed.add(str(origin))
        if problems:
            raise ConfigError(key, tuple(problems))

    def listed(self, headers: Headers) -> str | None:
        """Return the request's origin as it was sent if it is one of those listed; raises nothing."""
        values = headers.getRawHeaders(b"origin") or ()
        if len(values) != 1:
            return None
        text = values[0].strip(b" \t").decode("latin-1")
        origin = _parse_origin(text)
        return text if origin is not None and str(origin) in self._allowed else None

    def check(self, headers: Headers, authority: Authority | None, *, tls: bool) -> str | None:
        """Return the listed origin the request comes from; None for no origin or our own.

        `authority` is what `HostRule.check` returned, `tls` whether our own socket is encrypted. Raises
        `ForbiddenError` for every other origin, `null` and unreadable ones included.
        """
        values = headers.getRawHeaders(b"origin")
        if not values:
            return None
        text = values[0].strip(b" \t").decode("latin-1")
        origin = _parse_origin(text) if len(values) == 1 else None
        if origin is not None and origin.serves(authority, tls=tls):
            return None
        if len(values) == 1 and text in self._allowed:  # as browsers write it, letter by letter
            return text
        shown = f'the origin "{origin}"' if origin is not None else "this origin"
        raise ForbiddenError(
            f"Web pages of {shown} may not send requests here. "
            f"If it is yours, add it to {self._key} in the configuration."
        )


class _Origin(NamedTuple):
    scheme: str
    rest: str
    authority: Authority | None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"

    def serves(self, authority: Authority | None, *, tls: bool) -> bool:
        """Whether a page of this origin came from `authority`, that is from us.

        Behind a proxy that ends TLS a page of https arrives over http, so only https is told for sure.
        """
        if self.authority is None or authority is None or (tls and self.scheme != "https"):
            return False
        default = _DEFAULT_PORTS[self.scheme]
        ours = (authority.host, authority.port or default)
        return ours == (self.authority.host, self.authority.port or default)


def _parse_origin(text: str) -> _Origin | None:
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        return None
    scheme, rest = found.groups()
    if scheme not in _DEFAULT_PORTS:  # an app's own scheme: compared letter by letter
        return _Origin(scheme, rest, None) if "/" not in rest else None
    authority = parse_authority(rest)
    if authority is None:
        return None
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    port = authority.port if authority.port != _DEFAULT_PORTS[scheme] else None
    return _Origin(scheme, host if port is None else f"{host}:{port}", authority)
