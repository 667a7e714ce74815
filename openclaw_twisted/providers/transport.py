"""How a provider's origin is reached, from its settings: through which proxy, and whom TLS trusts.

Certificates are always verified. A server with a certificate of its own making is trusted by giving that
certificate, or the authority that signed it, as `tls.ca`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import ProviderRequestSettings, ProviderTlsSettings, ProxySettings
from openclaw_twisted.errors import ConfigError, Problem
from openclaw_twisted.providers.tunnel import Proxy

__all__ = [
    "FindProxy",
    "Trust",
    "everything_through",
    "is_loopback",
    "proxy_finder",
    "proxy_of",
    "trust_of",
    "way_out",
]

FindProxy = Callable[[str, str, int], Proxy | None]
"""Return the proxy for a scheme, host and port; None is no proxy."""

DEFAULT_PROXY_PORT = 8080
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IPolicyForHTTPS)
class Trust:
    """Whom TLS trusts, whom it expects and who we are; everything unset is as in a browser."""

    def __init__(
        self,
        *,
        authorities: tuple[Certificate, ...] = (),
        ourselves: PrivateCertificate | None = None,
        server_name: str | None = None,
    ) -> None:
        self._root = trustRootFromCertificates(authorities) if authorities else platformTrust()
        self._ourselves = ourselves
        self._server_name = server_name

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:  # noqa: N802
        """Return what makes TLS connections to a host, and breaks those to another one off."""
        name = self._server_name or hostname.decode("ascii")
        return optionsForClientTLS(name, trustRoot=self._root, clientCertificate=self._ourselves)


def trust_of(tls: ProviderTlsSettings, path: str) -> Trust:
    """Return whom the settings at `path` trust; raises `ConfigError` for what is no certificate."""
    try:
        authorities = tuple(map(Certificate.loadPEM, _PEM.findall(_pem(tls.ca)))) if tls.ca else ()
        ourselves = None
        if tls.cert is not None and tls.key is not None:
            ourselves = PrivateCertificate.loadPEM(_pem(tls.cert) + b"\n" + _pem(tls.key))
    except Exception as error:  # noqa: BLE001 - pyOpenSSL's errors have no base of their own; nothing is awaited
        message = f"cannot be used ({type(error).__name__}). Give PEM texts, or the paths of PEM files."
        raise ConfigError(path, (Problem(path, message),)) from None
    if tls.ca is not None and not authorities:
        raise ConfigError(path, (Problem(f"{path}.ca", "holds no certificate in PEM form"),))
    return Trust(authorities=authorities, ourselves=ourselves, server_name=tls.server_name)


def way_out(proxy: ProxySettings) -> Secret | None:
    """Return the address of the proxy that everything has to pass, if there is one."""
    return proxy.proxy_url if proxy.enabled else None


def everything_through(url: Secret) -> FindProxy:
    """Return what sends everything through one proxy, except to this machine itself."""
    proxy = proxy_of(url.reveal())

    def find(_scheme: str, host: str, _port: int) -> Proxy | None:
        return None if is_loopback(host) else proxy

    return find


def is_loopback(host: str) -> bool:
    """Tell whether a host, as a URL writes it, is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def proxy_finder(
    request: ProviderRequestSettings,
    environ: Mapping[str, str],
    path: str,
    *,
    everything: Secret | None = None,
) -> FindProxy | None:
    """Return what tells the proxy for an origin; None when there is none.

    A proxy of the settings at `path` comes before the one that `everything` has to pass. Raises `ConfigError`
    for one that cannot be used.
    """
    proxy = request.proxy
    if proxy is None:
        return None if everything is None else everything_through(everything)
    try:
        if proxy.mode == "explicit-proxy":
            explicit = proxy_of(proxy.url.reveal()) if proxy.url is not None else None
            return lambda _scheme, _host, _port: explicit
        proxies = {scheme: _named_proxy(scheme, environ) for scheme in ("http", "https")}
    except ValueError as error:
        raise ConfigError(path, (Problem(path, str(error)),)) from None
    spared = {"no": _variable("no", environ)}

    def find(scheme: str, host: str, port: int) -> Proxy | None:
        return None if proxy_bypass_environment(f"{host}:{port}", spared) else proxies[scheme]

    return find


def _named_proxy(scheme: str, environ: Mapping[str, str]) -> Proxy | None:
    url = _variable(scheme, environ) or _variable("all", environ)
    return proxy_of(url) if url else None


def _variable(name: str, environ: Mapping[str, str]) -> str:
    return environ.get(f"{name}_proxy") or environ.get(f"{name.upper()}_PROXY") or ""


def proxy_of(url: str) -> Proxy:
    """Return where a proxy is; raises `ValueError` for anything but an `http://` URL with a host."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("the proxy's address must be like http://proxy.example.org:8080")
    user, password = (unquote(part or "") for part in (parts.username, parts.password))
    return Proxy(parts.hostname, parts.port or DEFAULT_PROXY_PORT, f"{user}:{password}" if user else "")


def _pem(text: Secret) -> bytes:
    """Return a PEM text, or what the file holds that is named in its place."""
    told = text.reveal()
    return told.encode() if "-----BEGIN" in told else Path(told).expanduser().read_bytes()
