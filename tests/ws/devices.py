"""Devices with keys of their own, as OpenClaw's clients have them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Device:
    """A device; `sign` adds its signature to the params of `connect`."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(self.public).hexdigest()

    def sign(self, params: Mapping[str, Any], *, nonce: str, at_ms: int, form: str = "v3") -> dict[str, Any]:
        client, auth = params["client"], params.get("auth") or {}
        token = auth.get("token") or auth.get("deviceToken") or auth.get("bootstrapToken") or ""
        parts = [
            form,
            self.id,
            client["id"],
            client["mode"],
            params["role"],
            ",".join(params["scopes"]),
            str(at_ms),
            token,
            nonce,
        ]
        if form == "v3":
            parts += [client["platform"].strip().lower(), client.get("deviceFamily", "").strip().lower()]
        signature = self._key.sign("|".join(parts).encode())
        device = {
            "id": self.id,
            "publicKey": b64url(self.public),
            "signature": b64url(signature),
            "signedAt": at_ms,
            "nonce": nonce,
        }
        return {**params, "device": device}
