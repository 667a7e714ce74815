"""Tokens that stand in for the gateway's secret on one device, for one role and some scopes.

A device that has shown the secret and signed with its key is given one, so that it need not keep the secret.
A token is derived from a key of this gateway's, the device, the role and the scopes: asking again gives the
same one, and what is kept of it is a digest. The key is derived from the secret, too, so that a gateway with
another secret knows none of its tokens any more.

    key   = HMAC-SHA256(salt, SHA-256 of the secret)
    token = "ocd_" + base64url(HMAC-SHA256(key, device id, role, scopes))
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from openclaw_twisted.config.secret import Secret

__all__ = ["MAX_TOKENS", "DeviceTokens", "IssuedToken", "device_tokens_path"]

MAX_TOKENS = 1000
"""How many are kept; those that nobody has used for longest are forgotten first."""

_PREFIX = "ocd_"
_SALT_BYTES = 32
_FOLDER = "credentials"
_NAME = "device-tokens.json"

_log = Logger()


class IssuedToken(Struct, frozen=True, kw_only=True):
    """What a device is given: the token, what it is good for, and when it was first made (ms)."""

    token: Secret
    scopes: tuple[str, ...]
    issued_at_ms: int


class _Kept(Struct, frozen=True, kw_only=True, rename="camel"):
    digest: str
    device_id: str
    role: str
    scopes: tuple[str, ...]
    issued_at_ms: int


class _File(Struct, frozen=True, kw_only=True):
    salt: str
    gateway: str
    tokens: tuple[_Kept, ...] = ()


def device_tokens_path(state_dir: Path) -> Path:
    """Return where the digests are kept."""
    return state_dir / _FOLDER / _NAME


class DeviceTokens:
    """The tokens of one gateway; `secret_digest` is the SHA-256 of its secret, as `Gate` has it."""

    def __init__(self, path: Path | None, secret_digest: bytes) -> None:
        """`path` is the file that outlives the process; None keeps them in memory."""
        self._path = path
        self._kept: dict[str, _Kept] = {}
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._key = self._derive(secret_digest)
        kept = self._read()
        if kept is not None:
            self._salt = bytes.fromhex(kept.salt)
            self._key = self._derive(secret_digest)
            if hmac.compare_digest(kept.gateway, self._fingerprint()):
                self._kept = {entry.digest: entry for entry in kept.tokens}

    def __len__(self) -> int:
        return len(self._kept)

    def knows(self, device_id: str) -> bool:
        """Tell whether a device has a token."""
        return any(entry.device_id == device_id for entry in self._kept.values())

    def issue(self, device_id: str, role: str, scopes: Iterable[str], *, now_ms: int) -> IssuedToken:
        """Return a device's token for these scopes and those that it had before."""
        mine = (entry for entry in self._kept.values() if (entry.device_id, entry.role) == (device_id, role))
        all_scopes = tuple(sorted({*scopes, *(scope for entry in mine for scope in entry.scopes)}))
        token = self._token(device_id, role, all_scopes)
        digest = _digest(token)
        entry = self._used(digest)
        if entry is None:
            entry = _Kept(
                digest=digest, device_id=device_id, role=role, scopes=all_scopes, issued_at_ms=now_ms
            )
            self._kept[digest] = entry
            while len(self._kept) > MAX_TOKENS:
                del self._kept[next(iter(self._kept))]
            self._write()
        return IssuedToken(token=Secret(token), scopes=all_scopes, issued_at_ms=entry.issued_at_ms)

    def find(self, token: str | None, device_id: str, role: str) -> IssuedToken | None:
        """Return a token that this device was given for this role; None for any other."""
        entry = self._kept.get(_digest(token)) if token else None
        if entry is None or token is None or (entry.device_id, entry.role) != (device_id, role):
            return None
        self._used(entry.digest)
        return IssuedToken(token=Secret(token), scopes=entry.scopes, issued_at_ms=entry.issued_at_ms)

    def rekey(self, secret_digest: bytes) -> None:
        """Forget every token if the gateway has another secret now."""
        key = self._derive(secret_digest)
        if not hmac.compare_digest(key, self._key):
            self._key = key
            self._kept.clear()
            self._write()

    def _used(self, digest: str) -> _Kept | None:
        """Return an entry, which is the last one to be forgotten now."""
        entry = self._kept.pop(digest, None)
        if entry is not None:
            self._kept[digest] = entry
        return entry

    def _derive(self, secret_digest: bytes) -> bytes:
        return hmac.digest(self._salt, secret_digest, "sha256")

    def _fingerprint(self) -> str:
        return hmac.digest(self._key, b"gateway", "sha256").hex()

    def _token(self, device_id: str, role: str, scopes: tuple[str, ...]) -> str:
        text = msgspec.json.encode((device_id, role, scopes))
        return _PREFIX + base64.urlsafe_b64encode(hmac.digest(self._key, text, "sha256")).decode().rstrip("=")

    def _read(self) -> _File | None:
        if self._path is None:
            return None
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                kept = msgspec.json.decode(file.read(), type=_File)
            bytes.fromhex(kept.salt)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            # Nothing is lost that a device could not get again with the secret.
            _log.warn(
                "{path} cannot be read; devices need the secret again: {why}", path=self._path, why=error
            )
            return None
        return kept

    def _write(self) -> None:
        if self._path is None:
            return
        kept = _File(salt=self._salt.hex(), gateway=self._fingerprint(), tokens=tuple(self._kept.values()))
        scratch = self._path.with_name(f".{_NAME}.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(scratch, flags, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
            scratch.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink()
            _log.error(
                "{path} cannot be written; devices will need the secret again after a restart: {why}",
                path=str(self._path),
                why=error.strerror or str(error),
            )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
