"""The one place that decides who a caller is, whichever door they come through."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from openclaw_twisted.auth.addresses import ClientAddress, TrustedProxies
from openclaw_twisted.auth.credentials import MAX_SECRET_BYTES, Credential
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.auth.scopes import ALL, grant
from openclaw_twisted.config.settings import AuthMode, AuthSettings, Secret
from openclaw_twisted.errors import (
    ConfigError,
    ForbiddenError,
    GatewayError,
    Problem,
    RateLimitedError,
    UnauthorizedError,
)

__all__ = ["SHARED_SECRET", "Gate", "Identity"]

SHARED_SECRET = "shared-secret"  # noqa: S105 - the name of a limiter scope

SCOPES_HEADER = "x-openclaw-scopes"
"""In which a trusted proxy says what its user may do at most; absent, that is everything."""

_UNAUTHORIZED = "Unauthorized"

_log = Logger()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the caller turned out to be, and the scopes that come with it."""

    name: str
    scopes: frozenset[str] = ALL


class Gate:
    """Lets in those who prove who they are, the way `gateway.auth.mode` says."""

    def __init__(
        self,
        settings: AuthSettings,
        limiter: FailureLimiter,
        *,
        generated_token: Secret | None = None,
        trusted_proxies: TrustedProxies | None = None,
        observe: Callable[[GatewayError], object] = lambda _error: None,
    ) -> None:
        """`generated_token` stands in where mode `token` has none configured.

        `observe` hears why an attempt to log in was refused; who offers nothing has not tried.
        Raises `ConfigError` when the mode lacks what it needs.
        """
        self.mode: AuthMode = settings.resolved_mode
        self._limiter = limiter
        self._proxy = settings.trusted_proxy
        self._trusted = trusted_proxies
        self._observe = observe
        self._told_unattributed = False
        self._digest = b""
        if self.mode == "token":
            self._digest = _digest_of(settings.token or generated_token, "token")
        elif self.mode == "password":
            self._digest = _digest_of(settings.password, "password")
        elif self.mode == "trusted-proxy":
            _require_proxy(settings, trusted_proxies)

    @property
    def secret_digest(self) -> bytes:
        """The SHA-256 of the secret, empty in modes that have none."""
        return self._digest

    @property
    def believes(self) -> object:
        """What another gate of mode `trusted-proxy` has to agree in, to know whom this one has let in."""
        if self.mode != "trusted-proxy" or self._trusted is None:
            return None
        return (self._proxy, self._trusted.networks)

    def check(
        self, credential: Credential, client: ClientAddress, limiter_scope: str = SHARED_SECRET
    ) -> Identity:
        """Return who this is.

        `limiter_scope` names the kind of secret that is being offered; both doors share one, so that
        guessing at two doors is not worth twice the attempts. Raises `UnauthorizedError`,
        `RateLimitedError`, and in mode `none` `ForbiddenError` for callers that a proxy brings.
        """
        if client.unattributed:
            self._tell_unattributed(client)
        if self.mode == "none":
            return self._nobody_asked(client)
        try:
            if self.mode == "trusted-proxy":
                return self._vouched_for(credential, client)
            return self._holder(credential, client, limiter_scope)
        except (UnauthorizedError, RateLimitedError) as error:
            if self._offers(credential):
                self._observe(error)
            raise

    def _holder(self, credential: Credential, client: ClientAddress, limiter_scope: str) -> Identity:
        self._limiter.check(limiter_scope, client)
        if credential.secret is None:
            raise UnauthorizedError(_UNAUTHORIZED)
        if not hmac.compare_digest(hashlib.sha256(credential.secret).digest(), self._digest):
            self._limiter.record(limiter_scope, client)
            raise UnauthorizedError(_UNAUTHORIZED)
        self._limiter.forgive(limiter_scope, client)
        return Identity("operator")

    def _nobody_asked(self, client: ClientAddress) -> Identity:
        if client.unattributed or client.proxied:
            raise ForbiddenError(
                'A reverse proxy stands before this gateway, and gateway.auth.mode is "none", which is for '
                'direct connections on one machine. Set gateway.auth.mode to "token" or "trusted-proxy".'
            )
        return Identity("local")

    def _vouched_for(self, credential: Credential, client: ClientAddress) -> Identity:
        """Return the user that the trusted proxy names; it is the proxy's part to strip forged headers."""
        proxy = self._proxy
        if not client.proxied or (client.peer.is_loopback and not proxy.allow_loopback):
            raise UnauthorizedError(_UNAUTHORIZED)
        if not all(_single(credential, name) for name in proxy.required_headers):
            raise UnauthorizedError(_UNAUTHORIZED)
        user = _single(credential, proxy.user_header or "")
        if not user or (proxy.allow_users and user not in proxy.allow_users):
            raise UnauthorizedError(_UNAUTHORIZED)
        return Identity(user, _capped(credential))

    def _offers(self, credential: Credential) -> bool:
        if self.mode == "trusted-proxy":
            return bool(credential.headers.hasHeader(self._proxy.user_header or ""))
        return credential.secret is not None

    def _tell_unattributed(self, client: ClientAddress) -> None:
        if not self._told_unattributed:
            self._told_unattributed = True
            _log.warn(
                "Ignored forwarding headers from {peer}. If that is your reverse proxy, add its address to "
                "gateway.trustedProxies. This is said once.",
                peer=str(client.peer),
            )


def _capped(credential: Credential) -> frozenset[str]:
    """Return the scopes that the proxy leaves its user: none when its header is doubled or unreadable.

    https://docs.openclaw.ai/gateway/trusted-proxy-auth
    """
    if not credential.headers.hasHeader(SCOPES_HEADER):
        return ALL
    return grant(ALL, map(str.strip, _single(credential, SCOPES_HEADER).split(",")))


def _single(credential: Credential, name: str) -> str:
    """Return the one value of a header that the proxy sets; empty when missing, doubled or unreadable."""
    values = credential.headers.getRawHeaders(name.lower().encode("latin-1", "replace")) or ()
    text = values[0].decode("utf-8", "replace").strip() if len(values) == 1 else ""
    return text if text.isprintable() else ""


def _digest_of(secret: Secret | None, key: str) -> bytes:
    """Digest the configured secret once; blanks round it cannot be sent in a header and do not count."""
    text = (secret.reveal() if secret is not None else "").strip().encode("utf-8", "surrogatepass")
    if text and len(text) <= MAX_SECRET_BYTES:
        return hashlib.sha256(text).digest()
    size = f"is longer than {MAX_SECRET_BYTES} bytes" if text else "is empty"
    message = f"The {key} {size}. Set it here or in the environment variable OPENCLAW_GATEWAY_{key.upper()}."
    raise ConfigError("gateway.auth", (Problem(f"gateway.auth.{key}", message),))


def _require_proxy(settings: AuthSettings, trusted: TrustedProxies | None) -> None:
    problems = []
    networks = trusted.networks if trusted is not None else []
    if not networks:
        message = 'gateway.auth.mode "trusted-proxy" needs the addresses of the proxies that are trusted.'
        problems.append(Problem("gateway.trustedProxies", message))
    if any(network.prefixlen == 0 for network in networks):
        message = 'With gateway.auth.mode "trusted-proxy" this would let everybody name themselves.'
        problems.append(Problem("gateway.trustedProxies", message))
    if not settings.trusted_proxy.user_header:
        message = "Name the header in which the proxy tells the user, for example x-forwarded-user."
        problems.append(Problem("gateway.auth.trustedProxy.userHeader", message))
    if problems:
        raise ConfigError("gateway.auth", tuple(problems))
