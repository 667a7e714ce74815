"""What must hold between settings: each rule is one function, and all of them are asked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from openclaw_twisted.config.findings import Findings, at
from openclaw_twisted.config.model_rules import models_that_answer, thinking_that_counts
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import GatewaySettings, Settings

__all__ = ["check"]

SHORT_SECRET_CHARACTERS: Final = 24

_ORIGIN = re.compile(r"https?://[^/\s?#@*]+")
# Pages inside of applications and browser extensions have schemes of their own.
_APP_ORIGIN = re.compile(r"(?!(?:https?|wss?|ftp|file|data):)[a-z][a-z0-9+.-]*://[^/\s?#@*]+", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROXY = re.compile(r"http://([^\s/?#@]+@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def check(settings: Settings, findings: Findings) -> None:
    """Note everything that does not fit together."""
    for rule in _RULES:
        rule(settings, findings)


def _one_secret(settings: Settings, findings: Findings) -> None:
    auth = settings.gateway.auth
    if auth.mode is None and auth.token is not None and auth.password is not None:
        token, password = findings.shown("gateway.auth.token"), findings.shown("gateway.auth.password")
        findings.refuse(
            "gateway.auth.mode",
            f'{token} and {password} are both set; write "token" or "password" here, or remove one of them',
        )


def _password_present(settings: Settings, findings: Findings) -> None:
    auth = settings.gateway.auth
    if auth.mode == "password" and auth.password is None:
        findings.missing(
            "gateway.auth.password",
            'is needed by mode "password"; set it here or in OPENCLAW_GATEWAY_PASSWORD',
        )


def _open_only_to_itself(settings: Settings, findings: Findings) -> None:
    gateway = settings.gateway
    if gateway.auth.mode == "none" and not _stays_on_loopback(gateway):
        findings.refuse(
            "gateway.auth.mode",
            f'"none" would let everybody in who reaches the port: bind is "{gateway.bind}"; '
            'use "token", or bind to "loopback"',
        )


def _stays_on_loopback(gateway: GatewaySettings) -> bool:
    if gateway.bind == "custom" and gateway.custom_bind_host is not None:
        try:
            return ipaddress.ip_address(gateway.custom_bind_host).is_loopback
        except ValueError:
            return False
    return gateway.bind == "loopback"


def _custom_bind(settings: Settings, findings: Findings) -> None:
    gateway = settings.gateway
    if gateway.bind != "custom":
        return
    if gateway.custom_bind_host is None:
        findings.missing(
            "gateway.customBindHost", 'is needed by bind "custom"; name an address of this machine'
        )
        return
    try:
        ipaddress.ip_address(gateway.custom_bind_host)
    except ValueError:
        findings.refuse("gateway.customBindHost", "must be an IP address")


def _trusted_proxy(settings: Settings, findings: Findings) -> None:
    gateway = settings.gateway
    for index, network in enumerate(gateway.trusted_proxies):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            findings.refuse(
                f"gateway.trustedProxies[{index}]", "must be an IP address or a network like 10.0.0.0/8"
            )
    if gateway.auth.mode != "trusted-proxy":
        return
    if not gateway.trusted_proxies:
        findings.missing(
            "gateway.trustedProxies", 'is needed by auth mode "trusted-proxy"; list the proxy\'s address'
        )
    if gateway.auth.trusted_proxy.user_header is None:
        findings.missing(
            "gateway.auth.trustedProxy.userHeader",
            'is needed by auth mode "trusted-proxy"; name the header with the user',
        )


def _short_secrets(settings: Settings, findings: Findings) -> None:
    auth = settings.gateway.auth
    advice = f"has less than {SHORT_SECRET_CHARACTERS} characters; make a longer one: openssl rand -hex 32"
    for path, secret in (("gateway.auth.token", auth.token), ("gateway.auth.password", auth.password)):
        if secret is not None and len(secret.reveal()) < SHORT_SECRET_CHARACTERS:
            findings.warn(path, advice)


def _origins(settings: Settings, findings: Findings) -> None:
    gateway = settings.gateway
    wanted = 'must be one origin like "https://chat.example.com" or "app://obsidian.md", without a path or *'
    for index, origin in enumerate(gateway.http.endpoints.chat_completions.allowed_origins):
        if not _is_origin(origin):
            findings.refuse(f"gateway.http.endpoints.chatCompletions.allowedOrigins[{index}]", wanted)
    for index, origin in enumerate(gateway.control_ui.allowed_origins):
        # OpenClaw takes anything here, "*" too; nothing but an origin ever matches one
        if not _is_origin(origin):
            findings.warn(f"gateway.controlUi.allowedOrigins[{index}]", f"lets nobody in: {wanted}")
    public = gateway.public_origin
    if public is not None and not (_ORIGIN.fullmatch(public.rstrip("/")) and public.startswith("https://")):
        findings.refuse("gateway.publicOrigin", 'must be an origin like "https://gateway.example.com"')


def _is_origin(text: str) -> bool:
    origin = text.rstrip("/")
    return any(form.fullmatch(origin) for form in (_ORIGIN, _APP_ORIGIN))


def _hosts(settings: Settings, findings: Findings) -> None:
    for index, host in enumerate(settings.gateway.http.allowed_hosts):
        if not _HOST.fullmatch(host):
            findings.refuse(
                f"gateway.http.allowedHosts[{index}]", "must be a host name alone, without scheme, port or *"
            )


def _tls_files(settings: Settings, findings: Findings) -> None:
    tls = settings.gateway.tls
    if not tls.enabled:
        return
    if (tls.cert_path is None) != (tls.key_path is None):
        missing = "keyPath" if tls.key_path is None else "certPath"
        findings.missing(f"gateway.tls.{missing}", "is needed too; certificate and key go together")
    elif tls.cert_path is None:
        findings.missing(
            "gateway.tls.certPath", "is needed, and keyPath: this version makes no certificate of its own"
        )


def _one_default_agent(settings: Settings, findings: Findings) -> None:
    default = [agent.id for agent in settings.agents.entries.values() if agent.default]
    for agent_id in default[1:]:
        findings.warn(
            f"{at('agents.entries', agent_id)}.default", f'has no effect: the default agent is "{default[0]}"'
        )


def _addresses(settings: Settings, findings: Findings) -> None:
    for name, provider in settings.models.providers.items():
        path = at("models.providers", name)
        _address(provider.base_url, f"{path}.baseUrl", findings)
        for index, model in enumerate(provider.models):
            _address(model.base_url, f"{path}.models[{index}].baseUrl", findings)


def _address(url: str | None, path: str, findings: Findings) -> None:
    if url is None or "${" in url:
        return  # one with an unset variable in it has been warned about
    if not url.startswith(("http://", "https://")):
        findings.refuse(path, "must begin with http:// or https://")
    elif not _ADDRESS.fullmatch(url):
        findings.refuse(
            path, "must be an address alone: no blanks, no user name (headers take one), no ? and no #"
        )
    elif not _can_be_reached(url):
        findings.refuse(path, "must name a host and, if any, a port from 1 to 65535")


def _can_be_reached(url: str) -> bool:
    try:
        parts = urlsplit(url)
        name, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # or one of its children, by encodings
        return False
    return bool(name) and port != 0 and not parts.netloc.endswith(":")


def _headers(settings: Settings, findings: Findings) -> None:
    for name, provider in settings.models.providers.items():
        path = at("models.providers", name)
        given = {f"{path}.headers": provider.headers, f"{path}.request.headers": provider.request.headers}
        given |= {
            f"{path}.models[{index}].headers": model.headers for index, model in enumerate(provider.models)
        }
        for where, headers in given.items():
            for header in headers:
                if not _HEADER.fullmatch(header):
                    findings.refuse(at(where, header), "is no name that a header can have")


def _transports(settings: Settings, findings: Findings) -> None:
    for name, provider in settings.models.providers.items():
        path = f"{at('models.providers', name)}.request"
        proxy, tls = provider.request.proxy, provider.request.tls
        if proxy is not None and proxy.mode == "explicit-proxy":
            _proxy(proxy.url, f"{path}.proxy.url", findings)
        if tls.insecure_skip_verify:
            findings.refuse(
                f"{path}.tls.insecureSkipVerify",
                "cannot be true: whoever is in between could read the key; "
                "trust the server's own certificate with tls.ca instead",
            )
        if (tls.cert is None) != (tls.key is None):
            missing = "key" if tls.key is None else "cert"
            findings.missing(f"{path}.tls.{missing}", "is needed too; certificate and key go together")


def _proxy(url: Secret | None, path: str, findings: Findings) -> None:
    if url is None:
        findings.missing(path, 'is needed by mode "explicit-proxy"; name its address')
    elif not _PROXY.fullmatch(url.reveal()):
        findings.refuse(path, "must be an address like http://proxy.example.org:8080")


def _idle_reset(settings: Settings, findings: Findings) -> None:
    reset = settings.session.reset
    if reset.mode == "idle" and reset.idle_minutes is None:
        findings.warn("session.reset.mode", '"idle" does nothing without idleMinutes')


def _maintenance(settings: Settings, findings: Findings) -> None:
    maintenance = settings.session.maintenance
    if maintenance.mode == "enforce" and not maintenance.prune_after_seconds:
        findings.refuse(
            "session.maintenance.pruneAfter",
            '0 would delete every session that is not in use; write a time like "30d", or set mode to '
            '"warn", which deletes none',
        )


def _store(settings: Settings, findings: Findings) -> None:
    if settings.storage.url is not None:
        findings.refuse(
            "storage.url",
            "cannot be chosen in this version: sessions are kept in SQLite in the state directory; "
            "remove the key, and set OPENCLAW_STATE_DIR to keep them elsewhere",
        )


def _limited_people(settings: Settings, findings: Findings) -> None:
    gateway = settings.gateway
    if gateway.auth.mode != "trusted-proxy":
        return  # nobody has a name, so there is nobody to limit
    limits = {"gateway.auth.identityScopes": gateway.auth.identity_scopes, "gateway.roles": gateway.roles}
    for path, given in limits.items():
        if given:
            findings.refuse(
                path,
                "cannot be enforced in this version: whoever the proxy names may do everything; "
                "remove the key if that is what you want",
            )


def _way_out(settings: Settings, findings: Findings) -> None:
    proxy = settings.proxy
    if proxy.proxy_url is None or not proxy.enabled:
        return
    endpoints = settings.gateway.http.endpoints
    if not _PROXY.fullmatch(proxy.proxy_url.reveal()):
        findings.refuse("proxy.proxyUrl", "must be an address like http://proxy.example.org:8080")
    elif endpoints.chat_completions.images.allow_url or endpoints.responses.images.allow_url:
        findings.refuse(
            "proxy.proxyUrl",
            "cannot be used together with images.allowUrl: images would be fetched past it; "
            "turn one of them off, or set proxy.enabled to false",
        )


def _file_names(settings: Settings, findings: Findings) -> None:
    tls = settings.gateway.tls
    named = {
        "gateway.tls.certPath": tls.cert_path,
        "gateway.tls.keyPath": tls.key_path,
        "logging.file": settings.logging.file,
        "models.local.path": settings.models.local.path,
    }
    for key, name in named.items():
        if name is not None and not _is_file_name(name):
            findings.refuse(key, "cannot be a file's name; write a path, which may begin with ~/")


def _is_file_name(text: str) -> bool:
    try:
        Path(text).expanduser()
    except RuntimeError:  # the home directory of somebody whom this machine does not know
        return False
    return "\0" not in text


_RULES: Final[tuple[Callable[[Settings, Findings], None], ...]] = (
    _one_secret,
    _password_present,
    _open_only_to_itself,
    _custom_bind,
    _trusted_proxy,
    _short_secrets,
    _origins,
    _hosts,
    _tls_files,
    _file_names,
    _one_default_agent,
    _addresses,
    _headers,
    _transports,
    models_that_answer,
    thinking_that_counts,
    _idle_reset,
    _maintenance,
    _store,
    _limited_people,
    _way_out,
)
