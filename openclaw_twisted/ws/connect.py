"""The `connect` request: what a client says about itself, and whether that lets it in.

Scopes come from the credential: a client gets those it asks for that its credential holds, and none when it
asks for none. A `device` may be given and is not looked at: it neither helps nor hurts.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import ClientAddress
from openclaw_twisted.auth.credentials import Credential, from_connect
from openclaw_twisted.auth.gate import Gate, Identity
from openclaw_twisted.auth.scopes import grant
from openclaw_twisted.errors import GatewayError, InvalidRequestError, RateLimitedError, UnauthorizedError
from openclaw_twisted.ws.frames import Fault, Malformed, Request, parse
from openclaw_twisted.ws.params import read
from openclaw_twisted.ws.subscriptions import Subscriptions

__all__ = [
    "METHOD",
    "NEWEST_PROTOCOL",
    "NORMAL_CLOSE",
    "OLDEST_PROTOCOL",
    "ROLE",
    "Client",
    "Login",
    "Refusal",
    "Visitor",
    "log_in",
]

METHOD = "connect"
OLDEST_PROTOCOL = 3
NEWEST_PROTOCOL = 4
ROLE = "operator"

NORMAL_CLOSE = 1000
_PROTOCOL_ERROR_CLOSE = 1002
_POLICY_CLOSE = 1008

_Text = Annotated[str, Meta(min_length=1, max_length=256)]
_Texts = tuple[_Text, ...]


class _ClientInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    # The protocol closes `id` and `mode` to lists that grow with every release; nothing here depends on them,
    # so a client that is newer than our list is not locked out.
    id: _Text
    version: _Text
    platform: _Text
    mode: _Text
    display_name: _Text | None = None
    build_id: _Text | None = None
    device_family: _Text | None = None
    model_identifier: _Text | None = None
    time_zone: _Text | None = None
    instance_id: _Text | None = None


class _Auth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    token: str | None = None
    password: str | None = None
    device_token: str | None = None
    bootstrap_token: str | None = None
    approval_runtime_token: str | None = None
    agent_runtime_identity_token: str | None = None


class _Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    id: _Text
    public_key: _Text
    signature: _Text
    signed_at: Annotated[int, Meta(ge=0)]
    nonce: _Text | None = None


class _Params(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    min_protocol: Annotated[int, Meta(ge=1)]
    max_protocol: Annotated[int, Meta(ge=1)]
    client: _ClientInfo
    caps: _Texts = ()
    commands: _Texts = ()
    permissions: dict[str, bool] = {}
    path_env: str | None = None
    role: _Text = ROLE
    scopes: _Texts = ()
    device: _Device | None = None
    auth: _Auth = _Auth()
    locale: str | None = None
    user_agent: str | None = None


_params = msgspec.json.Decoder(_Params)


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who is at the other end before it has logged in: its address, and the headers of its upgrade."""

    address: ClientAddress
    headers: Headers


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who is at the other end of a connection that has logged in.

    `program` is what it calls itself, `caps` are the capabilities that it has announced, `subscriptions`
    what it asks to hear later on.
    """

    connection_id: str
    protocol: int
    identity: Identity
    scopes: frozenset[str]
    program: str
    caps: frozenset[str] = frozenset()
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    @property
    def speaks_4(self) -> bool:
        """Whether what version 3 does not know may be sent."""
        return self.protocol >= NEWEST_PROTOCOL


@dataclass(frozen=True, kw_only=True)
class Login:
    """A connect request that was granted, with the id to answer it under."""

    request_id: str
    client: Client


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A first frame that was not: what to answer, if anything, and how to close the connection."""

    close_code: int
    close_reason: str
    request_id: str = ""
    fault: Fault | None = None

    @property
    def kind(self) -> str:
        """A word for the log: the most exact code there is."""
        if self.fault is None:
            return "NO_REQUEST"
        details = self.fault.details
        return details["code"] if isinstance(details, dict) else self.fault.code


def log_in(data: bytes, visitor: Visitor, gate: Gate) -> Login | Refusal:
    """Decide about a connection's first frame."""
    request = parse(data)
    if request is None:
        return Refusal(close_code=NORMAL_CLOSE, close_reason="")
    if isinstance(request, Malformed):
        return Refusal(close_code=_POLICY_CLOSE, close_reason="invalid request frame")
    if request.method != METHOD:
        return _refuse(request, "invalid handshake: first request must be connect")
    try:
        params = read(METHOD, request.params, _params)
    except InvalidRequestError as error:
        return _refuse(request, error.message)
    protocol = min(params.max_protocol, NEWEST_PROTOCOL)
    if protocol < max(params.min_protocol, OLDEST_PROTOCOL):
        return _mismatch(request, params)
    if params.role != ROLE:
        return _refuse(request, "invalid role")
    auth = params.auth
    credential = from_connect(auth.token, auth.password, mode=gate.mode, headers=visitor.headers)
    try:
        identity = gate.check(credential, visitor.address)
    except GatewayError as error:
        return _unauthorized(request, error, gate, credential)
    client = Client(
        connection_id=str(uuid.uuid4()),
        protocol=protocol,
        identity=identity,
        scopes=grant(identity.scopes, params.scopes),
        program=f"{params.client.id} {params.client.version}",
        caps=frozenset(params.caps),
    )
    return Login(request_id=request.id, client=client)


def _refuse(request: Request, message: str, details: Any = UNSET, **more: Any) -> Refusal:
    fault = Fault(code="INVALID_REQUEST", message=message, details=details, **more)
    return Refusal(close_code=_POLICY_CLOSE, close_reason=message, request_id=request.id, fault=fault)


def _mismatch(request: Request, params: _Params) -> Refusal:
    message = "protocol mismatch"
    details = {
        "code": "PROTOCOL_MISMATCH",
        "clientMinProtocol": params.min_protocol,
        "clientMaxProtocol": params.max_protocol,
        "expectedProtocol": NEWEST_PROTOCOL,
        "minimumProbeProtocol": OLDEST_PROTOCOL,
    }
    fault = Fault(code="INVALID_REQUEST", message=message, details=details)
    return Refusal(close_code=_PROTOCOL_ERROR_CLOSE, close_reason=message, request_id=request.id, fault=fault)


def _unauthorized(request: Request, error: GatewayError, gate: Gate, credential: Credential) -> Refusal:
    """Return what OpenClaw's clients read to tell their user what to do, under the names they know."""
    if isinstance(error, RateLimitedError):
        seconds = error.retry_after_seconds or 0.0
        return _refuse(
            request,
            f"unauthorized: {error.message}",
            _auth_details("AUTH_RATE_LIMITED", "rate_limited", "wait_then_retry"),
            retryable=True,
            retry_after_ms=int(seconds * 1000),
        )
    if isinstance(error, UnauthorizedError) and gate.mode in {"token", "password"}:
        missing = credential.secret is None
        reason = f"{gate.mode}_{'missing' if missing else 'mismatch'}"
        step = "update_auth_configuration" if missing else "update_auth_credentials"
        message = f"unauthorized: gateway {reason.replace('_', ' ')} (send it as auth.{gate.mode})"
        return _refuse(request, message, _auth_details(f"AUTH_{reason.upper()}", reason, step))
    details = _auth_details("AUTH_UNAUTHORIZED", "unauthorized", "review_auth_configuration")
    return _refuse(request, f"unauthorized: {error.message}", details)


def _auth_details(code: str, reason: str, next_step: str) -> dict[str, Any]:
    return {
        "code": code,
        "authReason": reason,
        "canRetryWithDeviceToken": False,
        "recommendedNextStep": next_step,
    }
