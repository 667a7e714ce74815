"""Which gateway a command talks to, and with which secret.

Each is looked for in this order: flag, environment, configuration, and for the secret also the token file of
this machine's gateway. A secret of this machine's gateway is never sent to another machine.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from ssl import PEM_FOOTER, PEM_HEADER, PEM_cert_to_DER_cert
from typing import NamedTuple
from urllib.parse import urlsplit

from openclaw_twisted.auth.token_file import load_or_create_token, token_path
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.surroundings import Surroundings
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import AuthSettings, GatewaySettings, RemoteSettings
from openclaw_twisted.listening import address_of, shown

__all__ = ["Credential", "Flags", "Target", "find_target", "own_credential"]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PORTS = {"ws": 80, "wss": 443}
_PRIVATE_SUFFIXES = (".local", ".ts.net", ".localhost", ".internal")
_IN_THE_CLEAR = "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS"


class Flags(NamedTuple):
    """What the command line says about the gateway."""

    url: str | None = None
    token: str | None = None
    password: str | None = None
    config: Path | None = None


class Credential(NamedTuple):
    """What is offered to prove who we are, and where it was found, in words."""

    source: str
    token: Secret | None = None
    password: Secret | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A gateway: its address and what proves to it who we are.

    `is_ours` tells that it is this machine's. `fingerprint` is the SHA-256 of the only certificate to accept,
    as hexadecimal digits in upper case.
    """

    url: str
    host: str
    port: int
    tls: bool = False
    is_ours: bool = False
    credential: Credential | None = None
    fingerprint: str | None = None


def find_target(flags: Flags, surroundings: Surroundings) -> Target:
    """Return the gateway to talk to.

    The configuration is not read when flags and environment say everything. Raises `CommandError` for an
    address that cannot be used and `ConfigError` for a configuration that cannot.
    """
    url = flags.url or surroundings.environ.get("OPENCLAW_GATEWAY_URL")
    given = _given(flags, surroundings)
    clear = surroundings.environ.get(_IN_THE_CLEAR) == "1"
    if url and given:
        return replace(_address(url, clear=clear), credential=given)
    gateway = surroundings.load(flags.config).settings.gateway
    remote = gateway.remote
    if not url and gateway.mode == "remote":
        url = remote.url
        if url is None:
            raise CommandError(
                'gateway.mode is "remote", but gateway.remote.url is not set. Set it, or give --url.'
            )
    if url and url == remote.url:
        fingerprint = remote.tls_fingerprint and "".join(filter(str.isalnum, remote.tls_fingerprint)).upper()
        target = replace(_address(url, clear=clear), fingerprint=fingerprint)
        return replace(target, credential=given or _remote(remote))
    target = _address(url, clear=clear) if url else _own_address(gateway)
    if given is None and target.is_ours:
        given = own_credential(gateway.auth, surroundings.state_dir, create=False)
    return replace(target, credential=given)


def own_credential(auth: AuthSettings, state_dir: Path, *, create: bool) -> Credential | None:
    """Return the secret that this machine's gateway asks for; None if it asks for none, or has none yet.

    `create` makes the token that the first start of the gateway would make. Raises `ConfigError` for a
    token file that cannot be used.
    """
    mode = auth.resolved_mode
    if mode == "password":
        return Credential("gateway.auth.password", password=auth.password)
    if mode != "token":
        return None
    if auth.token is not None:
        return Credential("gateway.auth.token", token=auth.token)
    if create or token_path(state_dir).exists():
        file = load_or_create_token(state_dir)
        return Credential(str(file.path), token=file.token)
    return None


def _given(flags: Flags, surroundings: Surroundings) -> Credential | None:
    """Return what the flags give, else what the environment gives.

    Both secrets may be there: the gateway takes the one that its mode asks for.
    """
    environ = surroundings.environ
    flagged = _credential("the command line", flags.token, flags.password)
    return flagged or _credential(
        "OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD",
        environ.get("OPENCLAW_GATEWAY_TOKEN"),
        environ.get("OPENCLAW_GATEWAY_PASSWORD"),
    )


def _credential(source: str, token: str | None, password: str | None) -> Credential | None:
    if not token and not password:
        return None
    secrets = [Secret(text.strip()) if text else None for text in (token, password)]
    return Credential(source, *secrets)


def _remote(remote: RemoteSettings) -> Credential | None:
    if remote.token is None and remote.password is None:
        return None
    return Credential("gateway.remote", remote.token, remote.password)


def _own_address(gateway: GatewaySettings) -> Target:
    """Return where this machine's gateway listens; its own certificate need not name that address."""
    host = shown(address_of(gateway))
    tls = gateway.tls
    return Target(
        url=f"{'wss' if tls.enabled else 'ws'}://{host}:{gateway.port}",
        host=host.strip("[]"),
        port=gateway.port,
        tls=tls.enabled,
        is_ours=True,
        fingerprint=_fingerprint(Path(tls.cert_path).expanduser()) if tls.enabled and tls.cert_path else None,
    )


def _fingerprint(path: Path) -> str | None:
    """Return the SHA-256 of the first certificate in a PEM file; None if it cannot be read."""
    try:
        first, end, _ = path.read_text(encoding="ascii").partition(PEM_FOOTER)
        der = PEM_cert_to_DER_cert(first[first.index(PEM_HEADER) :] + end)
    except (OSError, ValueError):
        return None
    return hashlib.sha256(der).hexdigest().upper()


def _address(url: str, *, clear: bool) -> Target:
    """Read an address; raises `CommandError` if it is none, or would send a secret over the internet."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise _no_address() from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or port == 0 or not parts.hostname or parts.username is not None or parts.fragment:
        raise _no_address()
    tls = scheme == "wss"
    if not (tls or clear or _is_private(parts.hostname)):
        raise CommandError(
            f"{parts.hostname} is not in a private network, and ws:// would send it everything unencrypted. "
            f"Use wss://, or set {_IN_THE_CLEAR}=1 if the way there is encrypted by other means."
        )
    return Target(
        url=parts._replace(scheme=scheme).geturl(),
        host=parts.hostname,
        port=port or _PORTS[scheme],
        tls=tls,
        is_ours=_is_loopback(parts.hostname),
    )


def _no_address() -> CommandError:
    # The address may hold a password: it is not repeated.
    return CommandError(
        "The gateway's address is not one. It should read ws://HOST:PORT or wss://HOST; user names and "
        "#fragments have no place in it."
    )


def _is_private(host: str) -> bool:
    """Return whether a host is out of reach for the internet, as far as its name tells."""
    ip = _ip(host)
    if ip is not None:
        return not ip.is_global
    return "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def _is_loopback(host: str) -> bool:
    ip = _ip(host)
    return host == "localhost" if ip is None else ip.is_loopback


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
