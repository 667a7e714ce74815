"""How a first frame is turned down: the error that OpenClaw's clients read, and the close that follows."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, Struct, UnsetType

from openclaw_twisted.ws.connect_params import ConnectParams
from openclaw_twisted.ws.device import DeviceProblem
from openclaw_twisted.ws.frames import Fault, Request

__all__ = [
    "NEWEST_PROTOCOL",
    "NORMAL_CLOSE",
    "OLDEST_PROTOCOL",
    "AuthDetails",
    "Refusal",
    "bad_device",
    "mismatch",
    "no_request",
    "not_json",
    "not_paired",
    "refuse",
    "unauthorized",
]

OLDEST_PROTOCOL = 3
NEWEST_PROTOCOL = 4

NORMAL_CLOSE = 1000
_PROTOCOL_ERROR_CLOSE = 1002
_POLICY_CLOSE = 1008

_INVALID = "INVALID_REQUEST"


class AuthDetails(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a login failed, and what the client may do about it."""

    code: str
    auth_reason: str
    can_retry_with_device_token: bool = False
    recommended_next_step: str


class DeviceDetails(Struct, frozen=True, kw_only=True):
    """Why a device is not believed."""

    code: str
    reason: str | UnsetType = UNSET


class MismatchDetails(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which protocols there are; only the expected one is told to clients that do not know version 4."""

    code: str | UnsetType = UNSET
    client_min_protocol: int | UnsetType = UNSET
    client_max_protocol: int | UnsetType = UNSET
    expected_protocol: int
    minimum_probe_protocol: int | UnsetType = UNSET


Details = AuthDetails | DeviceDetails | MismatchDetails


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A first frame that was not granted: what to answer, if anything, and how to close the connection."""

    close_code: int
    close_reason: str
    request_id: str = ""
    fault: Fault | None = None

    @property
    def kind(self) -> str:
        """A word for the log: the most exact code there is."""
        if self.fault is None:
            return "NO_REQUEST"
        code = getattr(self.fault.details, "code", UNSET)
        return code if isinstance(code, str) else self.fault.code


def not_json() -> Refusal:
    """Turn down what is no JSON."""
    return Refusal(close_code=NORMAL_CLOSE, close_reason="")


def no_request() -> Refusal:
    """Turn down what is no request."""
    return Refusal(close_code=_POLICY_CLOSE, close_reason="invalid request frame")


def refuse(request: Request, message: str, details: Details | UnsetType = UNSET) -> Refusal:
    """Turn down a request that has to be another one."""
    return _closing(request, Fault(code=_INVALID, message=message, details=details))


def not_paired(request: Request) -> Refusal:
    """Turn down somebody who offers neither a secret nor a device."""
    message = "device identity required: send the gateway's secret as auth.token, or log in with a device"
    details = DeviceDetails(code="DEVICE_IDENTITY_REQUIRED")
    return _closing(request, Fault(code="NOT_PAIRED", message=message, details=details))


def bad_device(request: Request, problem: DeviceProblem) -> Refusal:
    """Turn down a device that is not believed."""
    return refuse(request, problem.message, DeviceDetails(code=problem.code, reason=problem.reason))


def mismatch(request: Request, params: ConnectParams) -> Refusal:
    """Turn down a client with which there is no common protocol."""
    message = "protocol mismatch"
    details = MismatchDetails(expected_protocol=NEWEST_PROTOCOL)
    if params.max_protocol >= NEWEST_PROTOCOL:
        details = MismatchDetails(
            code="PROTOCOL_MISMATCH",
            client_min_protocol=params.min_protocol,
            client_max_protocol=params.max_protocol,
            expected_protocol=NEWEST_PROTOCOL,
            minimum_probe_protocol=OLDEST_PROTOCOL,
        )
    fault = Fault(code=_INVALID, message=message, details=details)
    return Refusal(close_code=_PROTOCOL_ERROR_CLOSE, close_reason=message, request_id=request.id, fault=fault)


def unauthorized(
    request: Request, message: str, details: AuthDetails, *, retry_after_seconds: float | None = None
) -> Refusal:
    """Turn down somebody who has not proved who they are, under the names that clients know."""
    later = retry_after_seconds is not None
    fault = Fault(
        code=_INVALID,
        message=f"unauthorized: {message}",
        details=details,
        retryable=True if later else UNSET,
        retry_after_ms=int((retry_after_seconds or 0.0) * 1000) if later else UNSET,
    )
    return _closing(request, fault)


def _closing(request: Request, fault: Fault) -> Refusal:
    return Refusal(close_code=_POLICY_CLOSE, close_reason=fault.message, request_id=request.id, fault=fault)
