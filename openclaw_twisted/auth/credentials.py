"""What the caller offers to prove who they are: an `Authorization` header or WebSocket connect params."""

from __future__ import annotations

import re

import msgspec
from twisted.web.http_headers import Headers

__all__ = ["MAX_SECRET_BYTES", "Credential", "from_connect", "from_headers"]

MAX_SECRET_BYTES = 4096
_BEARER = re.compile(rb"[ \t]*bearer[ \t]+", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_MALFORMED = b""  # matches nothing: no configured secret is empty


class Credential(msgspec.Struct, frozen=True):
    """A secret, not checked yet, and the headers in which a trusted proxy may vouch for the caller.

    `secret` is None when none was offered and empty when what was offered cannot be one. Never printed.
    """

    secret: bytes | None
    headers: Headers

    def __repr__(self) -> str:
        return f"<Credential {'none' if self.secret is None else '***'}>"


def from_headers(headers: Headers) -> Credential:
    """Read `Authorization: Bearer <secret>`; nothing else in a request is ever a secret."""
    values = headers.getRawHeaders(b"authorization")
    if not values:
        return Credential(None, headers)
    scheme = _BEARER.match(values[0])
    if len(values) > 1 or scheme is None:
        return Credential(_MALFORMED, headers)
    return Credential(_clean(values[0][scheme.end() :]), headers)


def from_connect(token: str | None, password: str | None, *, mode: str, headers: Headers) -> Credential:
    """Read `auth.token` and `auth.password` of WebSocket connect params; `headers` are the upgrade's.

    Clients put the one secret into either field, so the field that `mode` names is taken first.
    """
    first, second = (password, token) if mode == "password" else (token, password)
    text = first or second
    if not text:
        return Credential(None, headers)
    return Credential(_clean(text.encode("utf-8", "surrogatepass")), headers)


def _clean(secret: bytes) -> bytes:
    secret = secret.strip(b" \t")
    return _MALFORMED if len(secret) > MAX_SECRET_BYTES or _CONTROL.search(secret) else secret
