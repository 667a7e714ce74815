"""The codes that clients know errors by: in response frames, and where a payload tells of one."""

from __future__ import annotations

from openclaw_twisted import errors
from openclaw_twisted.errors import ForbiddenError, GatewayError
from openclaw_twisted.ws.connect import Client

__all__ = ["code_of"]

_INVALID = "INVALID_REQUEST"
_FORBIDDEN = "FORBIDDEN"
_UNAVAILABLE = "UNAVAILABLE"

_CALLERS_FAULT = (
    errors.AgentNotFoundError,
    errors.InvalidRequestError,
    errors.NotFoundError,
    errors.TooLargeError,
    errors.UpstreamRejectedError,
)


def code_of(error: GatewayError, client: Client) -> str:
    """Return the code that a client knows an error by."""
    if isinstance(error, ForbiddenError):
        return _FORBIDDEN if client.speaks_4 else _INVALID
    return _INVALID if isinstance(error, _CALLERS_FAULT) else _UNAVAILABLE
