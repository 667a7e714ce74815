"""What makes a request known again when it is sent once more."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from openclaw_twisted.agents.target import Target
from openclaw_twisted.boundaries import Claim
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.endpoint import Call

__all__ = ["MAX_KEY_CHARACTERS", "RETRY_COUNT", "Repetition", "repetition_of"]

MAX_KEY_CHARACTERS = 255
SCOPE = "http"
RETRY_COUNT = "x-stainless-retry-count"


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """`key` finds the run of the same request, `digest` proves that it was the same.

    `may_join` tells whether this is a repetition, rather than somebody who asks the same thing once more,
    `explicit` whether the client gave the key itself.
    """

    key: str
    digest: bytes
    may_join: bool
    explicit: bool

    @property
    def claim(self) -> Claim:
        """The key as the store keeps it."""
        return Claim(scope=SCOPE, key=self.key, digest=self.digest)


def repetition_of(call: Call, target: Target) -> Repetition | None:
    """Return what a request is known by: its Idempotency-Key, or for OpenAI's own clients its body.

    Those send no key with their retries, but they number them, from 0 on. None when a request has neither;
    raises `InvalidRequestError` for a key that is too long.
    """
    given = call.header("idempotency-key")
    if given:
        if len(given) > MAX_KEY_CHARACTERS:
            raise InvalidRequestError(f"The Idempotency-Key is longer than {MAX_KEY_CHARACTERS} characters.")
        digest = _digest(call, target)
        return Repetition(key=f"{call.caller}:key:{given}", digest=digest, may_join=True, explicit=True)
    count = call.header(RETRY_COUNT)
    if count is None:
        return None
    digest = _digest(call, target)
    key = f"{call.caller}:body:{digest.hex()}"
    return Repetition(key=key, digest=digest, may_join=count != "0", explicit=False)


def _digest(call: Call, target: Target) -> bytes:
    """Return what is the same when two requests are one: address, body, and what the headers chose."""
    key = target.session_key
    chosen = (
        call.request.path.decode("latin-1").rstrip("/"),
        target.agent.id,
        target.model_override or "",
        "" if key.stateless else str(key),
    )
    return sha256("\n".join(chosen).encode() + b"\n" + call.body).digest()
