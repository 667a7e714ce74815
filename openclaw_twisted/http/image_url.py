"""The address of an image on the web, read so strictly that nobody can read it differently later.

What is not plainly `http(s)://host[:port][/path][?query]` is refused: no user names, no control
characters or blanks, no backslashes, no percent signs in the host. Names are brought to the one form that
is looked up, compared, sent as Host and checked against the certificate (UTS 46, lower case, no closing
dot), and every way to write an IPv4 address (`2130706433`, `0x7f.1`, `017700000001`) becomes that address
here, before a resolver could understand it in its own way.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

import idna

from openclaw_twisted.errors import ConfigError, Problem
from openclaw_twisted.http.public_addresses import IPAddress

__all__ = ["HostList", "WebAddress", "read_address"]

MAX_URL_CHARACTERS = 8192
MAX_HOST_CHARACTERS = 253
MAX_PORT = 65535

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEVER = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\\]")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?", re.IGNORECASE
)
_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@%]+))(?::(?P<port>[0-9]{0,5}))?", re.IGNORECASE
)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_SENT_AS_WRITTEN = "!$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """Where something is on the web.

    `host` is a name or an IP address (without brackets) as it is meant, `ip` that address if it is one,
    `target` the path and query as they are sent.
    """

    scheme: str
    host: str
    port: int
    target: str
    ip: IPAddress | None = None

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if isinstance(self.ip, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def on_default_port(self) -> bool:
        """Whether the port is one that web servers have: 80 or 443."""
        return self.port in _DEFAULT_PORTS.values()

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def follow(self, location: str) -> WebAddress | None:
        """Return where a redirect to `location` leads; None when that cannot be read."""
        if _NEVER.search(location):  # first: urljoin drops what it does not like
            return None
        try:
            return read_address(urljoin(str(self), location))
        except ValueError:
            return None


def read_address(text: str) -> WebAddress | None:
    """Read an http or https URL; None when it is anything else or could be misread."""
    if len(text) > MAX_URL_CHARACTERS or _NEVER.search(text):
        return None
    url = _URL.fullmatch(text)
    authority = _AUTHORITY.fullmatch(url["authority"]) if url else None
    if url is None or authority is None:
        return None
    host = _read_host(authority)
    scheme = url["scheme"].lower()
    port = int(authority["port"] or _DEFAULT_PORTS[scheme])
    if host is None or not 0 < port <= MAX_PORT:
        return None
    ip = host if not isinstance(host, str) else None
    target = quote((url["path"] or "/") + (url["query"] or ""), safe=_SENT_AS_WRITTEN)
    return WebAddress(scheme=scheme, host=str(host), port=port, target=target, ip=ip)


def _read_host(authority: re.Match[str]) -> IPAddress | str | None:
    if authority["six"]:
        try:
            return IPv6Address(authority["six"])
        except ValueError:
            return None
    name = _read_name(authority["name"])
    if name is None or not _NUMBER.fullmatch(name.rpartition(".")[2]):
        return name
    # No top-level domain is a number, so whoever gets this name takes it for an IPv4 address: as inet_aton
    # reads it, with 1 to 4 parts in decimal, octal or hexadecimal.
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _read_name(text: str) -> str | None:
    """Return a host name in its one ASCII form."""
    if len(text) > MAX_HOST_CHARACTERS:  # first: idna takes quadratic time
        return None
    try:
        return idna.encode(text, uts46=True).decode("ascii").removesuffix(".")
    except UnicodeError:
        return None


class HostList:
    """Host names that may be used: `cdn.example.org`, or `*.example.org` for every name below it."""

    def __init__(self, key: str, entries: Sequence[str]) -> None:
        """`key` is the setting that `entries` comes from. Raises `ConfigError` for what is no host name."""
        self.key = key
        self._names: set[str] = set()
        self._parents: list[str] = []
        problems = []
        for index, entry in enumerate(entries):
            wildcard, name = entry.strip().startswith("*."), entry.strip().removeprefix("*.")
            authority = _AUTHORITY.fullmatch(name)
            host = _read_host(authority) if authority and authority["port"] is None else None
            if host is None:
                message = (
                    f'"{entry}" is no host name. Write it like cdn.example.org or *.example.org; '
                    "an empty list allows every public host."
                )
                problems.append(Problem(f"{key}[{index}]", message))
            elif wildcard:
                self._parents.append(f".{host}")
            else:
                self._names.add(str(host))
        if problems:
            raise ConfigError(key, tuple(problems))

    def __bool__(self) -> bool:
        return bool(self._names or self._parents)

    def __contains__(self, host: str) -> bool:
        return host in self._names or host.endswith(tuple(self._parents))
