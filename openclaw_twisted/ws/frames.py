"""The frames of the WebSocket protocol: one JSON object each, the same in versions 3 and 4.

    request  = {"type": "req", "id": text, "method": text, ["params": any],
                ["traceparent": text], ["expectedProfileId": text]}
    response = {"type": "res", "id": text, "ok": boolean, ["payload": any], ["error": fault]}
    event    = {"type": "event", "event": text, ["payload": any],
                ["stateVersion": {"presence": integer, "health": integer}], ["seq": integer]}
    fault    = {"code": text, "message": text, ["details": any],
                ["retryable": boolean], ["retryAfterMs": integer]}

Clients send requests, we send the rest. A response repeats the id of its request; a request may have two,
the first of which only says that it was accepted. Clients of version 3 drop a frame that has any other key
than these and then wait for ever, so the structs below are all that is ever sent.
https://docs.openclaw.ai/gateway/protocol
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from openclaw_twisted.surrogates import without_halves
from openclaw_twisted.ws.params import explain

__all__ = [
    "NO_ID",
    "Fault",
    "Malformed",
    "Request",
    "StateVersion",
    "close",
    "event",
    "failure",
    "opening",
    "parse",
    "success",
]

NO_ID = "invalid"
"""The id of a response to something whose own id cannot be read."""

MAX_ID_CHARS = 256

_Text = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """A client asks for something; `params` is JSON text that only the method itself can read."""

    type: Literal["req"]
    id: _Text
    method: _Text
    params: msgspec.Raw = msgspec.Raw(b"{}")
    traceparent: str | None = None
    expected_profile_id: str | None = msgspec.field(name="expectedProfileId", default=None)


class Malformed(Struct, frozen=True):
    """JSON that is no request: the id to answer under, and what is wrong with it."""

    id: str
    problem: str


class Fault(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a request failed."""

    code: str
    message: str
    details: Any = UNSET
    retryable: bool | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET


class _Response(Struct, frozen=True, tag_field="type", tag="res"):
    id: str
    ok: bool
    payload: Any = UNSET
    error: Fault | UnsetType = UNSET


class StateVersion(Struct, frozen=True):
    """How often the list of who is there, and the gateway's health, have changed."""

    presence: int
    health: int


class _Event(Struct, frozen=True, tag_field="type", tag="event", rename="camel"):
    event: str
    payload: Any
    state_version: StateVersion | UnsetType = UNSET


_request = msgspec.json.Decoder(Request)
_encode = msgspec.json.Encoder().encode


def parse(data: bytes) -> Request | Malformed | None:
    """Read what a client sent; None when it is not JSON at all."""
    try:
        return _request.decode(data)
    except msgspec.ValidationError as error:
        return _malformed(data, explain(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        mended = without_halves(data)
        return None if mended is None else parse(mended)


def success(request_id: str, payload: Any) -> bytes:
    """Return the response to a request that succeeded, or was accepted."""
    return _encode(_Response(request_id, ok=True, payload=payload))


def failure(request_id: str, fault: Fault, payload: Any = UNSET) -> bytes:
    """Return the response to a request that failed."""
    return _encode(_Response(request_id, ok=False, payload=payload, error=fault))


def event(name: str, payload: Any) -> bytes:
    """Return an event without a number, so that a client cannot find a gap before it."""
    return _encode(_Event(name, payload))


def opening(name: str, payload: Any, state_version: StateVersion | UnsetType = UNSET) -> bytes:
    """Return an event that `close` completes: what is the same for every client."""
    return _encode(_Event(name, payload, state_version))[:-1]


def close(opened: bytes, sequence: int | None = None) -> bytes:
    """Return the whole event, with the number that it has on its connection, if it has one."""
    return opened + (b"}" if sequence is None else b',"seq":%d}' % sequence)


def _malformed(data: bytes, problem: str) -> Malformed | None:
    # The typed decoder stops at the first mismatch, which may stand before something that is not JSON.
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    request_id = value.get("id") if isinstance(value, dict) else None
    if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID_CHARS:
        request_id = NO_ID
    return Malformed(request_id, problem)
