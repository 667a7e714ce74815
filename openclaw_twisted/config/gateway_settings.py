"""The `gateway` section: the port, who may use it, what is served on it, and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from openclaw_twisted.config.quantities import Bytes, Count, CountOrNone, Seconds, SecondsOrOff
from openclaw_twisted.config.secret import Secret

__all__ = [
    "AuthMode",
    "AuthSettings",
    "Bind",
    "ChatCompletionsSettings",
    "ControlUiSettings",
    "EndpointsSettings",
    "GatewaySettings",
    "HttpSettings",
    "ImagesSettings",
    "LimitsSettings",
    "RateLimitSettings",
    "ReloadSettings",
    "RemoteSettings",
    "ResponsesSettings",
    "SecurityHeadersSettings",
    "ShutdownSettings",
    "TlsSettings",
    "TrustedProxySettings",
]

AuthMode = Literal["none", "token", "password", "trusted-proxy"]
Bind = Literal["auto", "loopback", "lan", "tailnet", "custom"]


class RateLimitSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many failed logins one address has before it is locked out."""

    max_attempts: Annotated[
        Count, Meta(description="Failed attempts within the window before a lockout.")
    ] = 10
    window_ms: Annotated[Count, Meta(description="The window in which failures are counted.")] = 60_000
    lockout_ms: Annotated[Count, Meta(description="How long a locked-out address is refused.")] = 300_000
    exempt_loopback: Annotated[
        bool, Meta(description="Never lock out this machine itself; requests of a browser are never exempt.")
    ] = True


class TrustedProxySettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a reverse proxy that has already authenticated the user tells about them."""

    user_header: Annotated[str | None, Meta(description="The header that names the user.")] = None
    required_headers: Annotated[
        tuple[str, ...],
        Meta(description="Headers that must be there for the request to count as authenticated."),
    ] = ()
    allow_users: Annotated[
        tuple[str, ...], Meta(description="The users let in; empty lets in every user.")
    ] = ()
    allow_loopback: Annotated[bool, Meta(description="Also accept a proxy that runs on this machine.")] = (
        False
    )


class AuthSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who may use the gateway."""

    mode: Annotated[
        AuthMode | None,
        Meta(description="How callers prove who they are; unset means by the one secret that is configured."),
    ] = None
    token: Annotated[
        Secret | None,
        Meta(
            description="The shared token; made at the first start when nothing is configured.",
            extra={"guards": True},
        ),
    ] = None
    password: Annotated[
        Secret | None, Meta(description="The shared password of mode `password`.", extra={"guards": True})
    ] = None
    rate_limit: Annotated[RateLimitSettings, Meta(description="The limit on failed logins.")] = (
        RateLimitSettings()
    )
    trusted_proxy: Annotated[
        TrustedProxySettings, Meta(description="The identity headers of mode `trusted-proxy`.")
    ] = TrustedProxySettings()
    identity_scopes: Annotated[
        dict[str, Any], Meta(description="What the users of mode `trusted-proxy` may do, each by name.")
    ] = {}

    @property
    def resolved_mode(self) -> AuthMode:
        """The mode that applies: the configured one, else the one whose secret is there, else `token`."""
        if self.mode is not None:
            return self.mode
        return "password" if self.password is not None and self.token is None else "token"


class ImagesSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which images a request may carry."""

    allow_url: Annotated[bool, Meta(description="Fetch images that are given by http or https address.")] = (
        False
    )
    url_allowlist: Annotated[
        tuple[str, ...],
        Meta(description="Host names that images may be fetched from; empty allows every public one."),
    ] = ()
    allowed_mimes: Annotated[tuple[str, ...], Meta(description="The image formats that are accepted.")] = (
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/heic",
        "image/heif",
    )
    max_bytes: Annotated[Bytes, Meta(description="The size of one image, decoded.")] = 10_485_760
    max_redirects: Annotated[CountOrNone, Meta(description="Redirects followed while fetching an image.")] = 3
    timeout_ms: Annotated[Count, Meta(description="How long fetching an image may take.")] = 10_000


class ChatCompletionsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The OpenAI Chat Completions endpoint and `/v1/models`."""

    enabled: Annotated[bool, Meta(description="Serve the endpoint.")] = False
    unknown_model: Annotated[
        Literal["reject", "default-agent"],
        Meta(description="What a model name like `gpt-4o` gets: an error, or the default agent."),
    ] = "reject"
    user_policy: Annotated[
        Literal["session", "ignore"], Meta(description="Whether the request's `user` names a conversation.")
    ] = "session"
    session_headers: Annotated[
        tuple[str, ...], Meta(description="Client headers that name a conversation, first match wins.")
    ] = ("x-openwebui-chat-id", "x-session-id")
    keep_alive_seconds: Annotated[
        SecondsOrOff,
        Meta(
            description="Send an SSE comment after this much silence; 0 leaves all comments out of streams."
        ),
    ] = 15.0
    max_body_bytes: Annotated[Bytes, Meta(description="The largest request body.")] = 20_971_520
    max_image_parts: Annotated[CountOrNone, Meta(description="The most images in one request.")] = 8
    max_total_image_bytes: Annotated[
        Bytes, Meta(description="All images of one request together, decoded.")
    ] = 20_971_520
    allowed_origins: Annotated[
        tuple[str, ...], Meta(description="Web origins whose pages may call the API; `*` is refused.")
    ] = ()
    images: Annotated[ImagesSettings, Meta(description="Which images are accepted.")] = ImagesSettings()


class ResponsesSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The OpenAI Responses endpoint."""

    enabled: Annotated[bool, Meta(description="Serve `/v1/responses`.")] = False
    max_body_bytes: Annotated[Bytes, Meta(description="The largest request body.")] = 20_971_520
    max_url_parts: Annotated[
        CountOrNone, Meta(description="The most parts given by address in one request.")
    ] = 8
    images: Annotated[ImagesSettings, Meta(description="Which images are accepted.")] = ImagesSettings()


class EndpointsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The HTTP endpoints, each with its own switch."""

    chat_completions: Annotated[ChatCompletionsSettings, Meta(description="OpenAI Chat Completions.")] = (
        ChatCompletionsSettings()
    )
    responses: Annotated[ResponsesSettings, Meta(description="OpenAI Responses.")] = ResponsesSettings()


class SecurityHeadersSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Response headers that tell browsers to be careful."""

    strict_transport_security: Annotated[
        str | Literal[False],
        Meta(description="The value of `Strict-Transport-Security`; `false` sends none."),
    ] = False


class HttpSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is served over HTTP."""

    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names to answer to, beside the local and single-word ones.")
    ] = ()
    endpoints: Annotated[EndpointsSettings, Meta(description="The endpoints.")] = EndpointsSettings()
    security_headers: Annotated[
        SecurityHeadersSettings, Meta(description="Headers that tell browsers to be careful.")
    ] = SecurityHeadersSettings()


class LimitsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one client, or all of them together, may take up."""

    max_connections: Annotated[Count, Meta(description="Open client connections, HTTP and WebSocket.")] = 4096
    max_unauthenticated_websockets: Annotated[
        Count, Meta(description="WebSockets still logging in, in all.")
    ] = 128
    max_unauthenticated_websockets_per_address: Annotated[
        Count, Meta(description="WebSockets still logging in, from one address.")
    ] = 32
    websocket_login_seconds: Annotated[
        Seconds, Meta(description="How long a WebSocket may take to log in.")
    ] = 15.0
    websocket_ping_seconds: Annotated[
        Seconds, Meta(description="How often a WebSocket is pinged; one missed answer closes it.")
    ] = 25.0
    max_payload_bytes: Annotated[Bytes, Meta(description="The largest WebSocket message.")] = 26_214_400
    max_login_payload_bytes: Annotated[
        Bytes, Meta(description="The largest WebSocket message before login.")
    ] = 65_536
    soft_buffer_bytes: Annotated[
        Bytes, Meta(description="Unsent bytes of a WebSocket from which text events are merged.")
    ] = 1_048_576
    max_buffered_bytes: Annotated[
        Bytes, Meta(description="Unsent bytes at which a WebSocket is closed as too slow.")
    ] = 52_428_800
    tick_seconds: Annotated[Seconds, Meta(description="How often WebSocket clients get a `tick`.")] = 30.0
    max_request_line_bytes: Annotated[Bytes, Meta(description="The longest HTTP request line.")] = 8192
    max_header_bytes: Annotated[Bytes, Meta(description="All headers of a request together.")] = 16_384
    max_headers: Annotated[Count, Meta(description="The most headers in a request.")] = 100
    header_deadline_seconds: Annotated[
        Seconds, Meta(description="How long a client may take to send its headers.")
    ] = 10.0
    body_idle_seconds: Annotated[
        Seconds, Meta(description="How long a client may pause while it sends a body.")
    ] = 15.0
    body_deadline_seconds: Annotated[
        Seconds, Meta(description="How long a client may take to send a body.")
    ] = 300.0
    connection_idle_seconds: Annotated[
        Seconds, Meta(description="How long an HTTP connection is kept open between requests.")
    ] = 75.0
    stream_buffer_bytes: Annotated[
        Bytes, Meta(description="Unsent bytes of a streamed answer at which the model is told to wait.")
    ] = 65_536
    stream_stall_seconds: Annotated[
        Seconds, Meta(description="How long the reader of a stream may take nothing before it is dropped.")
    ] = 60.0
    max_queued_runs: Annotated[Count, Meta(description="Runs that may wait for their turn, in all.")] = 512
    max_queued_runs_per_session: Annotated[Count, Meta(description="Runs that may wait in one session.")] = 32
    idempotency_seconds: Annotated[
        Seconds, Meta(description="How long a repeated request joins the first one's run.")
    ] = 300.0
    max_idempotency_keys: Annotated[Count, Meta(description="Repeatable requests that are remembered.")] = (
        1000
    )


class ShutdownSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the gateway stops."""

    drain_seconds: Annotated[
        SecondsOrOff, Meta(description="How long running answers may go on after the signal to stop.")
    ] = 30.0


class ControlUiSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The control page."""

    enabled: Annotated[bool, Meta(description="Serve the control page.")] = True
    base_path: Annotated[str, Meta(description="The path it is served under.")] = "/"
    root: Annotated[str | None, Meta(description="A folder with another build of the page.")] = None
    allowed_origins: Annotated[
        tuple[str, ...], Meta(description="Web origins that may open a WebSocket.")
    ] = ()


class TlsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Encryption on the gateway's own port."""

    enabled: Annotated[bool, Meta(description="Serve HTTPS and WSS.")] = False
    auto_generate: Annotated[bool, Meta(description="Make a certificate when both files are missing.")] = True
    cert_path: Annotated[str | None, Meta(description="The certificate chain, PEM.")] = None
    key_path: Annotated[str | None, Meta(description="The private key, PEM.")] = None
    ca_path: Annotated[str | None, Meta(description="The authority that signed the certificate, PEM.")] = None


class ReloadSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """What happens when the file changes."""

    mode: Annotated[
        Literal["off", "hybrid"],
        Meta(description="Apply changes that need no restart while running, or none."),
    ] = "hybrid"


class RemoteSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The gateway that the command line talks to, when it is not this machine's."""

    url: Annotated[str | None, Meta(description="Its address, `ws://` or `wss://`.")] = None
    token: Annotated[Secret | None, Meta(description="Its token.")] = None
    password: Annotated[Secret | None, Meta(description="Its password.")] = None
    tls_fingerprint: Annotated[
        str | None, Meta(description="The SHA-256 fingerprint its certificate must have.")
    ] = None


class GatewaySettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The gateway's port, who may use it, and what is served on it."""

    mode: Annotated[
        Literal["local", "remote"],
        Meta(description="`remote` means that this machine only uses another's gateway."),
    ] = "local"
    port: Annotated[Count, Meta(le=65535, description="The one TCP port of HTTP and WebSocket.")] = 18789
    bind: Annotated[Bind, Meta(description="Which network may reach the port.")] = "loopback"
    custom_bind_host: Annotated[str | None, Meta(description='The address of `bind: "custom"`.')] = None
    public_origin: Annotated[
        str | None, Meta(description="The https origin people reach the gateway at.")
    ] = None
    auth: Annotated[AuthSettings, Meta(description="Who may use the gateway.")] = AuthSettings()
    roles: Annotated[
        dict[str, Any], Meta(description="Named roles of users, and what each may see and do.")
    ] = {}
    trusted_proxies: Annotated[
        tuple[str, ...], Meta(description="Addresses or networks whose `X-Forwarded-*` headers are believed.")
    ] = ()
    allow_real_ip_fallback: Annotated[bool, Meta(description="Also believe `X-Real-IP` from them.")] = False
    http: Annotated[HttpSettings, Meta(description="What is served over HTTP.")] = HttpSettings()
    control_ui: Annotated[ControlUiSettings, Meta(description="The control page.")] = ControlUiSettings()
    tls: Annotated[TlsSettings, Meta(description="Encryption on the port itself.")] = TlsSettings()
    reload: Annotated[ReloadSettings, Meta(description="What happens when the file changes.")] = (
        ReloadSettings()
    )
    remote: Annotated[RemoteSettings, Meta(description="The gateway the command line talks to.")] = (
        RemoteSettings()
    )
    limits: Annotated[LimitsSettings, Meta(description="Connections, sizes, deadlines, queues.")] = (
        LimitsSettings()
    )
    shutdown: Annotated[ShutdownSettings, Meta(description="How the gateway stops.")] = ShutdownSettings()
