"""The params of `connect`: what a client says about itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

from openclaw_twisted.ws.params import MAX_INTEGER

__all__ = ["ROLE", "Auth", "ClientInfo", "ConnectParams", "Device"]

ROLE = "operator"

_Text = Annotated[str, Meta(min_length=1, max_length=256)]
_Texts = tuple[_Text, ...]


class ClientInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The program at the other end.

    The protocol closes `id` and `mode` to lists that grow with every release; nothing here depends on them,
    so a client that is newer than our list is not locked out.
    """

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


class Auth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What proves who the client is; the last three are OpenClaw's own and open nothing here."""

    token: str | None = None
    password: str | None = None
    device_token: str | None = None
    bootstrap_token: str | None = None
    approval_runtime_token: str | None = None
    agent_runtime_identity_token: str | None = None


class Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A device's key, and its signature over the connection; `signedAt` is in ms since the epoch."""

    id: _Text
    public_key: _Text
    signature: _Text
    signed_at: Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
    nonce: _Text | None = None


class ConnectParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """All of it; the keys of type `Raw` are OpenClaw's own and change nothing here."""

    min_protocol: Annotated[int, Meta(ge=1)]
    max_protocol: Annotated[int, Meta(ge=1)]
    client: ClientInfo
    caps: _Texts = ()
    commands: _Texts = ()
    permissions: dict[str, bool] = {}
    path_env: str | None = None
    role: _Text = ROLE
    scopes: _Texts = ()
    device: Device | None = None
    auth: Auth = Auth()
    locale: str | None = None
    user_agent: str | None = None
    computer_use: Raw = Raw()
    model_catalog: Raw = Raw()
    worker_runs: Raw = Raw()
