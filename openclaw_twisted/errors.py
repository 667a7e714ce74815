"""Every error this package raises on purpose: one tree, stable codes, a message that says what to do next.

`code` is the stable, machine-readable name (documented in docs/reference/errors); `kind` is the
word OpenAI clients read as the error's `type`. Which HTTP status or WebSocket frame an error becomes
is decided in `http.endpoint`, `ws.dispatch` and `ws.fault_codes`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AgentNotFoundError",
    "CancelledRunError",
    "ConfigError",
    "ContextLengthError",
    "ForbiddenError",
    "GatewayError",
    "HeadersTooLargeError",
    "InternalError",
    "InterruptedRunError",
    "InvalidRequestError",
    "MethodNotAllowedError",
    "MisdirectedError",
    "ModelNotReadyError",
    "NoProviderError",
    "NoSuchNetworkError",
    "NotConfiguredError",
    "NotFoundError",
    "OverloadedError",
    "PreviousResponseNotFoundError",
    "Problem",
    "RateLimitedError",
    "RequestTimeoutError",
    "ShuttingDownError",
    "StateDirectoryError",
    "StorageError",
    "TooLargeError",
    "UnauthorizedError",
    "UnsupportedMediaTypeError",
    "UpstreamAuthError",
    "UpstreamError",
    "UpstreamOverloadedError",
    "UpstreamRateLimitError",
    "UpstreamRejectedError",
    "UpstreamTimeoutError",
]


class GatewayError(Exception):
    """Something went wrong that the caller should hear about.

    `message` is safe to send to the caller. `param` names the offending request field
    (`messages[1].content`). `retry_after_seconds` is when trying again makes sense.
    """

    code: ClassVar[str | None] = "internal_error"
    kind: ClassVar[str] = "api_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InternalError(GatewayError):
    """A defect of ours; the message carries no detail, the log carries the traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the configuration: where it stands and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(GatewayError):
    """The configuration cannot be used; `problems` holds everything that was found, not just the first."""

    code = "invalid_config"
    kind = "invalid_request_error"

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{source} cannot be used:\n{lines}")


class StateDirectoryError(ConfigError):
    """The state directory cannot be read or written now: another start may find its disk there again."""


class NoSuchNetworkError(ConfigError):
    """The network to listen on is not there now: it may come up later than the gateway is started."""


class InvalidRequestError(GatewayError):
    """The request is malformed: the caller has to change it."""

    code: ClassVar[str | None] = None
    kind = "invalid_request_error"


class PreviousResponseNotFoundError(InvalidRequestError):
    """The response to continue is not kept here, or never was."""

    code = "previous_response_not_found"


class MisdirectedError(GatewayError):
    """The request names a host that the gateway does not answer to."""

    code = "misdirected_host"
    kind = "invalid_request_error"


class UnauthorizedError(GatewayError):
    """No secret, or the wrong one."""

    code = "unauthorized"
    kind = "unauthorized"


class RateLimitedError(GatewayError):
    """Too many failed attempts from one address."""

    code = "rate_limited"
    kind = "rate_limit_error"


class ForbiddenError(GatewayError):
    """Known caller, but not for this."""

    code = "forbidden"
    kind = "forbidden"


class NotFoundError(GatewayError):
    """There is nothing at this address, or it is switched off."""

    code = "not_found"
    kind = "invalid_request_error"


class MethodNotAllowedError(GatewayError):
    """The address exists, but not for this method.

    `allowed` lists those it has.
    """

    code = "method_not_allowed"
    kind = "invalid_request_error"

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnsupportedMediaTypeError(GatewayError):
    """The body is not what the endpoint reads."""

    code = "unsupported_media_type"
    kind = "invalid_request_error"


class TooLargeError(GatewayError):
    """The body exceeds the endpoint's limit."""

    code = "request_too_large"
    kind = "invalid_request_error"


class HeadersTooLargeError(GatewayError):
    """The head of a request exceeds the limits."""

    code = "headers_too_large"
    kind = "invalid_request_error"


class RequestTimeoutError(GatewayError):
    """The client took too long to send its request."""

    code = "request_timeout"
    kind = "invalid_request_error"


class AgentNotFoundError(GatewayError):
    """The request names an agent, model or provider that the configuration does not have."""

    code = "model_not_found"
    kind = "invalid_request_error"


class OverloadedError(GatewayError):
    """A queue is full, or the gateway is shutting down: try again later."""

    code = "overloaded"
    kind = "api_error"


class ShuttingDownError(OverloadedError):
    """The gateway is shutting down: it takes nothing more, and what it could not finish is cut off."""


class NoProviderError(GatewayError):
    """No model is configured; the message names the ways to get one."""

    code = "no_provider_configured"


class NotConfiguredError(GatewayError):
    """The endpoint is on, but what it needs is not configured; the message names the setting."""

    code = "not_configured"


class ModelNotReadyError(GatewayError):
    """The local model is still being fetched or loaded."""

    code = "model_not_ready"


class StorageError(GatewayError):
    """The store could not keep or read what it was asked to; nothing was acknowledged."""

    code = "storage_unavailable"


class CancelledRunError(GatewayError):
    """The run was stopped before it finished; `stop_reason` is the word that tells clients by whom."""

    code = "run_cancelled"

    def __init__(self, message: str, *, stop_reason: str = "rpc") -> None:
        super().__init__(message)
        self.stop_reason = stop_reason


class InterruptedRunError(GatewayError):
    """The gateway stopped while the run was under way; its answer is not complete."""

    code = "run_interrupted"


class UpstreamError(GatewayError):
    """The provider could not be reached, broke off, or answered nonsense."""

    code = "upstream_unavailable"


class UpstreamOverloadedError(UpstreamError):
    """The provider said that it cannot answer just now."""

    code = "upstream_overloaded"


class UpstreamTimeoutError(UpstreamError):
    """The provider was silent for longer than allowed."""

    code = "upstream_timeout"


class UpstreamRateLimitError(UpstreamError):
    """The provider answered 429."""

    code = "upstream_rate_limited"
    kind = "rate_limit_error"


class UpstreamAuthError(UpstreamError):
    """The provider refused the gateway's credentials."""

    code = "upstream_auth"


class UpstreamRejectedError(UpstreamError):
    """The provider refused the request itself.

    `status` is what the caller hears: the provider's 404, or 400.
    """

    code = "upstream_rejected"
    kind = "invalid_request_error"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ContextLengthError(UpstreamRejectedError):
    """The conversation does not fit into the model's context window."""

    code = "context_length_exceeded"
