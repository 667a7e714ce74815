"""The `connect` request: whether what a client says about itself lets it in.

Scopes come from the credential: a client gets those it asks for that its credential holds, and none when it
asks for none. Who shows the gateway's secret has shown all there is to show, from this machine or from
another: a device beside it is taken in at once, if its signature is good, and given a token that stands in
for the secret from then on. Nobody has to approve a device, because nobody could refuse one to the holder of
the secret.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import ClientAddress
from openclaw_twisted.auth.credentials import Credential, from_connect
from openclaw_twisted.auth.device_tokens import DeviceTokens, IssuedToken
from openclaw_twisted.auth.gate import Gate, Identity
from openclaw_twisted.auth.scopes import grant
from openclaw_twisted.errors import GatewayError, InvalidRequestError, RateLimitedError, UnauthorizedError
from openclaw_twisted.ws.connect_params import ROLE, ClientInfo, ConnectParams
from openclaw_twisted.ws.device import problem_with
from openclaw_twisted.ws.frames import Malformed, Request, parse
from openclaw_twisted.ws.params import read
from openclaw_twisted.ws.refusal import (
    NEWEST_PROTOCOL,
    OLDEST_PROTOCOL,
    AuthDetails,
    Refusal,
    bad_device,
    mismatch,
    no_request,
    not_json,
    not_paired,
    refuse,
    unauthorized,
)
from openclaw_twisted.ws.subscriptions import Subscriptions

__all__ = ["METHOD", "NO_CAPS", "Client", "Desk", "Login", "Visitor", "log_in"]

METHOD = "connect"

NO_CAPS: frozenset[str] = frozenset()
"""One for all: thousands of connections have none."""

_UNKNOWN_TOKEN = b""  # matches nothing: a device's token that is not known is a failure like any other

_params = msgspec.json.Decoder(ConnectParams)


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who is at the other end before it has logged in: its address, and the headers of its upgrade."""

    address: ClientAddress
    headers: Headers


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who is at the other end of a connection that has logged in.

    `info` is what the program calls itself, `caps` are the capabilities that it has announced,
    `device_token` is what its device has been given, `subscriptions` what it asks to hear later on.
    """

    connection_id: str
    protocol: int
    identity: Identity
    scopes: frozenset[str]
    info: ClientInfo
    address: str = ""
    caps: frozenset[str] = NO_CAPS
    device_id: str = ""
    device_token: IssuedToken | None = None
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    @property
    def speaks_4(self) -> bool:
        """Whether what version 3 does not know may be sent."""
        return self.protocol >= NEWEST_PROTOCOL

    @property
    def program(self) -> str:
        """The program and its version, in one line."""
        return f"{self.info.id} {self.info.version}"


@dataclass(frozen=True, kw_only=True)
class Login:
    """A connect request that was granted, with the id to answer it under."""

    request_id: str
    client: Client


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Who decides: the gate, and the tokens that devices have; `now` gives seconds since the epoch."""

    gate: Gate
    tokens: DeviceTokens
    now: Callable[[], float]

    @property
    def gives_tokens(self) -> bool:
        """Whether there is a secret that a token could stand in for."""
        return self.gate.mode in {"token", "password"}


def log_in(data: bytes, visitor: Visitor, desk: Desk, *, nonce: str) -> Login | Refusal:
    """Decide about a connection's first frame; `nonce` is what it was challenged with."""
    request = parse(data)
    if request is None:
        return not_json()
    if isinstance(request, Malformed):
        return no_request()
    if request.method != METHOD:
        return refuse(request, "invalid handshake: first request must be connect")
    try:
        params = read(METHOD, request.params, _params)
    except InvalidRequestError as error:
        return refuse(request, error.message)
    protocol = min(params.max_protocol, NEWEST_PROTOCOL)
    if protocol < max(params.min_protocol, OLDEST_PROTOCOL):
        return mismatch(request, params)
    if params.role != ROLE:
        return refuse(request, "invalid role")
    return _Attempt(request, params, visitor, desk).decide(protocol, nonce)


@dataclass(frozen=True)
class _Attempt:
    request: Request
    params: ConnectParams
    visitor: Visitor
    desk: Desk

    def decide(self, protocol: int, nonce: str) -> Login | Refusal:
        identity = self._by_token() or self._by_secret()
        if isinstance(identity, Refusal):
            return identity
        device = self.params.device
        if device is not None:
            problem = problem_with(device, self.params, nonce=nonce, now=self.desk.now())
            if problem is not None:
                return bad_device(self.request, problem)
        scopes = grant(identity.scopes, self.params.scopes)
        client = Client(
            connection_id=str(uuid.uuid4()),
            protocol=protocol,
            identity=identity,
            scopes=scopes,
            info=self.params.client,
            address=str(self.visitor.address.ip),
            caps=frozenset(self.params.caps) if self.params.caps else NO_CAPS,
            device_id=device.id if device is not None else "",
            device_token=self._token_for(scopes),
        )
        return Login(request_id=self.request.id, client=client)

    def _by_token(self) -> Identity | None:
        """Return whose token this is; it is not believed before the device's signature is."""
        found = self._known_token()
        return Identity("device", frozenset(found.scopes)) if found is not None else None

    def _known_token(self) -> IssuedToken | None:
        device, auth = self.params.device, self.params.auth
        if device is None or not self.desk.gives_tokens:
            return None
        offered = (auth.device_token, auth.token)
        found = (self.desk.tokens.find(token, device.id, self.params.role) for token in offered)
        return next((token for token in found if token is not None), None)

    def _token_for(self, scopes: frozenset[str]) -> IssuedToken | None:
        device = self.params.device
        if device is None or not self.desk.gives_tokens:
            return None
        known = self._known_token()
        if known is not None:
            return known
        return self.desk.tokens.issue(device.id, self.params.role, scopes, now_ms=int(self.desk.now() * 1000))

    def _by_secret(self) -> Identity | Refusal:
        auth, gate = self.params.auth, self.desk.gate
        credential = from_connect(auth.token, auth.password, mode=gate.mode, headers=self.visitor.headers)
        if credential.secret is None and auth.device_token:
            credential = Credential(_UNKNOWN_TOKEN, self.visitor.headers)
        try:
            return gate.check(credential, self.visitor.address)
        except GatewayError as error:
            return self._unauthorized(error, credential)

    def _unauthorized(self, error: GatewayError, credential: Credential) -> Refusal:
        request, mode, device = self.request, self.desk.gate.mode, self.params.device
        if isinstance(error, RateLimitedError):
            details = _details("AUTH_RATE_LIMITED", "rate_limited", "wait_then_retry")
            wait = error.retry_after_seconds or 0.0
            return unauthorized(request, error.message, details, retry_after_seconds=wait)
        if not isinstance(error, UnauthorizedError) or mode not in {"token", "password"}:
            details = _details("AUTH_UNAUTHORIZED", "unauthorized", "review_auth_configuration")
            return unauthorized(request, error.message, details)
        if credential.secret is not None:
            return self._wrong(mode)
        if device is None:
            return not_paired(request)
        details = _details(f"AUTH_{mode.upper()}_MISSING", f"{mode}_missing", "update_auth_configuration")
        return unauthorized(request, f"gateway {mode} missing (send it as auth.{mode})", details)

    def _wrong(self, mode: str) -> Refusal:
        request, auth, device = self.request, self.params.auth, self.params.device
        if auth.device_token and not auth.token and not auth.password:
            message = f"device token mismatch (log in with the gateway's {mode} once more)"
            details = _details(
                "AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch", "update_auth_credentials"
            )
            return unauthorized(request, message, details)
        known = device is not None and not auth.device_token and self.desk.tokens.knows(device.id)
        details = AuthDetails(
            code=f"AUTH_{mode.upper()}_MISMATCH",
            auth_reason=f"{mode}_mismatch",
            can_retry_with_device_token=known,
            recommended_next_step="retry_with_device_token" if known else "update_auth_credentials",
        )
        return unauthorized(request, f"gateway {mode} mismatch (send it as auth.{mode})", details)


def _details(code: str, reason: str, next_step: str) -> AuthDetails:
    return AuthDetails(code=code, auth_reason=reason, recommended_next_step=next_step)
