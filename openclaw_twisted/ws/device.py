"""Whether a client holds the key of the device that it says it is.

A device's id is the SHA-256 of its public Ed25519 key. It signs what it asks for together with the nonce of
its connection, so that a signature is good for one connection and nothing else:

    v3|deviceId|clientId|clientMode|role|scopes|signedAt|token|nonce|platform|deviceFamily
    v2|deviceId|clientId|clientMode|role|scopes|signedAt|token|nonce

Scopes are joined by commas; the token is the first one that is sent of `token`, `deviceToken` and
`bootstrapToken`, or nothing; platform and family are trimmed and in lower case. Both forms are good.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from openclaw_twisted.ws.connect_params import ConnectParams, Device

__all__ = ["MAX_AGE_SECONDS", "DeviceProblem", "problem_with"]

MAX_AGE_SECONDS = 120
_KEY_BYTES = 32


class DeviceProblem(Struct, frozen=True):
    """Why a device is not believed, in words for people and for programs."""

    message: str
    code: str
    reason: str


_BAD_KEY = DeviceProblem("device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", "device-public-key")
_BAD_ID = DeviceProblem("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch")
_STALE = DeviceProblem("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale")
_NO_NONCE = DeviceProblem("device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing")
_BAD_NONCE = DeviceProblem("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch")
_BAD_SIGNATURE = DeviceProblem(
    "device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature"
)


def problem_with(device: Device, params: ConnectParams, *, nonce: str, now: float) -> DeviceProblem | None:
    """Return what is wrong with a device; `nonce` is the connection's, `now` in seconds since the epoch."""
    key = _decoded(device.public_key)
    if len(key) != _KEY_BYTES:
        return _BAD_KEY
    if not hmac.compare_digest(hashlib.sha256(key).hexdigest().encode(), device.id.encode()):
        return _BAD_ID
    if abs(now * 1000 - device.signed_at) > MAX_AGE_SECONDS * 1000:
        return _STALE
    if not device.nonce:
        return _NO_NONCE
    if device.nonce != nonce:
        return _BAD_NONCE
    return None if _signed(device, params, key) else _BAD_SIGNATURE


def _signed(device: Device, params: ConnectParams, key: bytes) -> bool:
    common = _common(device, params)
    family = _plain(params.client.device_family)
    texts = (f"v3|{common}|{_plain(params.client.platform)}|{family}", f"v2|{common}")
    signature, public = _decoded(device.signature), Ed25519PublicKey.from_public_bytes(key)
    return any(_verifies(public, signature, text) for text in texts)


def _verifies(public: Ed25519PublicKey, signature: bytes, text: str) -> bool:
    try:
        public.verify(signature, text.encode("utf-8", "surrogatepass"))
    except InvalidSignature:
        return False
    return True


def _common(device: Device, params: ConnectParams) -> str:
    client, auth = params.client, params.auth
    token = auth.token or auth.device_token or auth.bootstrap_token or ""
    scopes = ",".join(params.scopes)
    parts = (device.id, client.id, client.mode, params.role, scopes, str(device.signed_at), token)
    return "|".join((*parts, device.nonce or ""))


def _plain(text: str | None) -> str:
    """Return metadata as it is signed: trimmed, and with ASCII letters in lower case."""
    return "".join(char.lower() if char.isascii() else char for char in (text or "").strip())


def _decoded(text: str) -> bytes:
    """Return what base64url text without padding stands for; empty for what is none."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
