"""The command line's end of the WebSocket: reach a gateway, log in, converse.

Autobahn carries the frames and answers the gateway's pings; `conversation` knows what they mean.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from OpenSSL.SSL import Error as SSLError
from service_identity.exceptions import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as NobodyListensError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.python.failure import Failure

from openclaw_twisted import __version__
from openclaw_twisted.cli.conversation import Channel, ClosedError, Conversation, RefusedError
from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.target import Credential, Target

__all__ = ["Session", "connected", "within"]

PROTOCOL = 4
CONNECT_TIMEOUT_SECONDS = 10.0
LOGIN_TIMEOUT_SECONDS = 15.0
MAX_PAYLOAD_BYTES = 26_214_400
DEFAULT_TICK_MS = 30_000

# AUTH_TOKEN_MISMATCH, AUTH_PASSWORD_MISSING, DEVICE_IDENTITY_REQUIRED and their kind.
_WANTS_A_SECRET = ("_MISSING", "_MISMATCH", "_REQUIRED")

T = TypeVar("T")


class _Policy(msgspec.Struct, frozen=True, rename="camel"):
    tick_interval_ms: float = DEFAULT_TICK_MS


class _SessionDefaults(msgspec.Struct, frozen=True, rename="camel"):
    default_agent_id: str | None = None


class _Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    session_defaults: _SessionDefaults = _SessionDefaults()


class _Features(msgspec.Struct, frozen=True):
    methods: tuple[str, ...] = ()


class _Hello(msgspec.Struct, frozen=True):
    policy: _Policy = _Policy()
    snapshot: _Snapshot = _Snapshot()
    features: _Features = _Features()


class Session(NamedTuple):
    """A conversation that has got past the login; `default_agent_id` is None if the gateway did not say.

    `methods` are those that the gateway says it has.
    """

    conversation: Conversation
    default_agent_id: str | None
    methods: tuple[str, ...] = ()


class _Socket(WebSocketClientProtocol):
    """Autobahn's connection as the conversation's channel."""

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._tls_problem = ""
        self.conversation = Conversation(clock, self)

    def send_frame(self, frame: bytes) -> None:
        """Send one text frame, unless the connection is on its way out: then its end is the answer."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(frame, isBinary=False)

    def close(self, code: int, reason: str) -> None:
        """Begin to close the connection; one that never opened is dropped."""
        if self.state == self.STATE_CONNECTING:
            self.abort()
        else:
            self.sendClose(code, reason)

    def abort(self) -> None:
        """End the connection at once."""
        transport: Any = self.transport
        transport.abortConnection()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """Hand a frame on, whichever kind it is: some gateways send JSON as binary."""
        self.conversation.received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        """Hand on that the connection is gone, and why."""
        if wasClean:
            told = f"{reason or 'no reason given'}, code {code}"
        else:
            told = self._tls_problem or self.wasNotCleanReason or "it broke off"
        self.conversation.lost(ClosedError(f"The gateway's connection ended: {told}."))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Look why, before Autobahn forgets."""
        if reason.check(VerificationError) or "certificate verify failed" in str(reason.value):
            self._tls_problem = (
                "its certificate is not trusted here. If it is the right one, put its SHA-256 into "
                "gateway.remote.tlsFingerprint"
            )
        elif reason.check(SSLError):
            self._tls_problem = "TLS failed"
        super().connectionLost(reason)

    def certificate_fingerprint(self) -> str:
        """Return the SHA-256 of the gateway's certificate, as hexadecimal digits in upper case."""
        transport: Any = self.transport
        certificate = transport.getPeerCertificate()
        return certificate.digest("sha256").decode("ascii").replace(":", "") if certificate else ""


_: type[Channel] = _Socket


@asynccontextmanager
async def connected(
    reactor: Any, target: Target, *, scopes: tuple[str, ...], caps: tuple[str, ...] = ()
) -> AsyncIterator[Session]:
    """Connect to a gateway, log in and, in the end, close the connection.

    `caps` are the kinds of events that are wanted beside those that everybody hears.
    Raises `CommandError` when it cannot be reached or does not let us in, and says what to do then.
    """
    socket = await _reach(reactor, target)
    try:
        yield await _log_in(reactor, target, socket, _connect_params(target.credential, scopes, caps))
    finally:
        await socket.conversation.close()


def within(answer: Deferred[T], seconds: float, clock: IReactorTime, words: str) -> Deferred[T]:
    """Give a Deferred this much time; then it is cancelled and fails with `TimedOutError(words)`."""
    return answer.addTimeout(seconds, clock, onTimeoutCancel=lambda *_: Failure(TimedOutError(words)))


async def _reach(reactor: Any, target: Target) -> _Socket:
    agent = f"openclaw-gateway/{__version__}"
    factory: Any = WebSocketClientFactory(target.url, useragent=agent, reactor=reactor)
    factory.setProtocolOptions(
        failByDrop=False,
        maxFramePayloadSize=MAX_PAYLOAD_BYTES,
        maxMessagePayloadSize=MAX_PAYLOAD_BYTES,
        # The login and the conversation have deadlines of their own.
        openHandshakeTimeout=0,
        closeHandshakeTimeout=0,
        serverConnectionDropTimeout=0,
        tcpNoDelay=True,
    )
    if ":" in factory.host:  # Autobahn writes an IPv6 address into the Host header as it is, which is none
        factory.host = f"[{factory.host}]"
    factory.protocol = partial(_Socket, reactor)
    endpoint: Any = HostnameEndpoint(reactor, target.host, target.port, timeout=CONNECT_TIMEOUT_SECONDS)
    if target.tls:
        # A pinned certificate is checked after the handshake, and no authority has to have signed it.
        options = CertificateOptions() if target.fingerprint else optionsForClientTLS(target.host)
        endpoint = wrapClientTLS(options, endpoint)
    try:
        socket: _Socket = await endpoint.connect(factory)
    except NobodyListensError:
        raise CommandError(f"There is no gateway at {target.url}. {_to_start(target)}") from None
    except (ConnectError, DNSLookupError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise CommandError(f"{target.url} cannot be reached ({reason}). Check the address.") from None
    return socket


async def _log_in(reactor: Any, target: Target, socket: _Socket, params: dict[str, object]) -> Session:
    conversation = socket.conversation
    late = f"{target.url} takes connections, but does not answer as a gateway does. {_to_check(target)}"
    try:
        await within(conversation.challenged, LOGIN_TIMEOUT_SECONDS, reactor, late)
        if target.fingerprint and socket.certificate_fingerprint() != target.fingerprint:
            raise CommandError(
                f"The certificate of {target.url} is not the one that gateway.remote.tlsFingerprint names. "
                "Somebody may be in between; if you changed it yourself, update the fingerprint."
            )
        connecting = conversation.request("connect", params)
        hello = _hello(await within(connecting, LOGIN_TIMEOUT_SECONDS, reactor, late))
    except ClosedError as error:
        raise CommandError(f"{error.message} {_to_check(target)}") from None
    except RefusedError as error:
        raise CommandError(_why_refused(error, target)) from None
    conversation.watch(hello.policy.tick_interval_ms / 1000)
    return Session(conversation, hello.snapshot.session_defaults.default_agent_id, hello.features.methods)


def _connect_params(
    credential: Credential | None, scopes: tuple[str, ...], caps: tuple[str, ...]
) -> dict[str, object]:
    params: dict[str, object] = {
        "minProtocol": PROTOCOL,
        "maxProtocol": PROTOCOL,
        "client": {
            "id": "cli",
            "version": __version__,
            "platform": sys.platform,
            "mode": "cli",
            "instanceId": str(uuid.uuid4()),
        },
        "caps": list(caps),
        "role": "operator",
        "scopes": list(scopes),
    }
    if credential is not None:
        offered = {"token": credential.token, "password": credential.password}
        params["auth"] = {field: secret.reveal() for field, secret in offered.items() if secret is not None}
    return params


def _hello(payload: bytes) -> _Hello:
    """Read what we use of hello-ok; OpenClaw's own clients do not insist on any of it either."""
    try:
        return msgspec.json.decode(payload, type=_Hello)
    except msgspec.DecodeError:
        return _Hello()


def _why_refused(error: RefusedError, target: Target) -> str:
    code = error.detail_code
    if not code.endswith(_WANTS_A_SECRET) or code == "PROTOCOL_MISMATCH":
        return f"The gateway at {target.url} did not let us in: {error.message}"
    if target.credential is None:
        tried = "asks for a token or password, and none was found"
    else:
        tried = f"did not accept the secret from {target.credential.source}"
    return f"The gateway at {target.url} {tried} ({code}). {_where_the_secret_is(target)}"


def _where_the_secret_is(target: Target) -> str:
    if target.is_ours:
        return (
            "The right one is what `openclaw-gateway token show` prints for the gateway's own user and "
            "configuration; give it with --token or OPENCLAW_GATEWAY_TOKEN."
        )
    return (
        "Ask for it on the gateway's machine with `openclaw-gateway token show`; give it with --token, "
        "OPENCLAW_GATEWAY_TOKEN or gateway.remote.token."
    )


def _to_start(target: Target) -> str:
    where = "" if target.is_ours else " on that machine"
    return f"Start it{where} with: openclaw-gateway run"


def _to_check(target: Target) -> str:
    tls, otherwise = ("use", "ws://") if target.tls else ("do without", "wss://")
    place = f"{target.host}:{target.port}"
    return f"Is {place} the gateway's port, and does it {tls} TLS (else the address begins with {otherwise})?"
