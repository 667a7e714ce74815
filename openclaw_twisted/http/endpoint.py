"""The wrapper round every endpoint: a call in, a reply out, errors mapped once.

This is the only place where an error of ours becomes an HTTP status and OpenAI's error envelope
(https://platform.openai.com/docs/guides/error-codes).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.server import Request

from openclaw_twisted import errors
from openclaw_twisted.errors import GatewayError, InternalError

__all__ = [
    "JSON",
    "Call",
    "Endpoint",
    "ErrorAnswer",
    "ErrorDetails",
    "Reply",
    "answer",
    "at_first_use",
    "error_body",
    "error_reply",
    "json_reply",
    "send",
    "status_of",
    "status_of_kind",
]

JSON = "application/json; charset=utf-8"

_STATUS: Mapping[type[GatewayError], HTTPStatus] = {
    errors.AgentNotFoundError: HTTPStatus.NOT_FOUND,
    errors.CancelledRunError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.InterruptedRunError: HTTPStatus.CONFLICT,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.HeadersTooLargeError: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.InvalidRequestError: HTTPStatus.BAD_REQUEST,
    errors.MethodNotAllowedError: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.MisdirectedError: HTTPStatus.MISDIRECTED_REQUEST,
    errors.ModelNotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NoProviderError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotConfiguredError: HTTPStatus.NOT_IMPLEMENTED,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.RequestTimeoutError: HTTPStatus.REQUEST_TIMEOUT,
    errors.StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    errors.UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UpstreamOverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.UpstreamRateLimitError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.UpstreamRejectedError: HTTPStatus.BAD_REQUEST,
    errors.UpstreamTimeoutError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.UpstreamError: HTTPStatus.BAD_GATEWAY,
}
DEFAULT_RETRY_AFTER_SECONDS = 5
MAX_RETRY_AFTER_SECONDS = 120  # OpenAI's clients give up on longer waits

_log = Logger()


class ErrorDetails(msgspec.Struct):
    """What went wrong: for people, as OpenAI's kind of it, the field to blame, the stable code."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct):
    """OpenAI's envelope of an error."""

    error: ErrorDetails


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as an endpoint sees it: the body is whole, the caller is known by name and scopes."""

    request: Request
    body: bytes
    caller: str
    scopes: frozenset[str]
    arguments: Mapping[str, str] = {}

    def header(self, name: str) -> str | None:
        """Return a header's only or last value, or None; what is no UTF-8 of it, in escapes."""
        values = self.request.requestHeaders.getRawHeaders(name.encode())
        return values[-1].decode("utf-8", "backslashreplace") if values else None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    status: int = HTTPStatus.OK
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}


Endpoint = Callable[[Call], Awaitable[Reply | None]]
"""Answers a call; None says that it has written its answer itself."""


def at_first_use(make: Callable[[], Endpoint]) -> Endpoint:
    """Return an endpoint that `make` loads and puts together when it is first asked: most are by few."""
    made = cache(make)

    async def called(call: Call) -> Reply | None:
        return await made()(call)

    return called


async def answer(endpoint: Endpoint, call: Call) -> None:
    """Call the endpoint and write its reply, whatever comes."""
    try:
        reply = await endpoint(call)
    except CancelledError:
        raise  # the client has gone: nobody is left to answer
    except GatewayError as error:
        reply = error_reply(error)
    except Exception:  # noqa: BLE001 - the last line of defence, behind the one for cancellation
        _log.failure("defect in {path}", path=call.request.path)
        reply = error_reply(InternalError("The gateway hit a defect; its log tells more."))
    if reply is None:
        return
    if call.request.startedWriting:
        # What has been sent cannot be taken back. A connection that breaks says that it is not whole,
        # where an orderly end would pass for one.
        transport: Any = call.request.transport
        transport.abortConnection()
    else:
        send(call.request, reply)


def send(request: Request, reply: Reply) -> None:
    """Write a whole answer; whoever calls finishes the request."""
    request.setResponseCode(reply.status)
    set_header = request.responseHeaders.setRawHeaders
    if reply.body:
        set_header("content-type", (reply.content_type,))
    if reply.status != HTTPStatus.NO_CONTENT:
        set_header("content-length", (str(len(reply.body)),))
    for name, value in reply.headers.items():
        set_header(name, (value,))
    request.write(reply.body)


def raw_reply(reply: Reply, headers: Mapping[str, str]) -> bytes:
    """Return a whole answer as bytes, for a connection that is closed after it."""
    status = HTTPStatus(reply.status)
    told = {**headers, **reply.headers, "content-type": reply.content_type, "connection": "close"}
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"content-length: {len(reply.body)}"]
    lines += [f"{name}: {value}" for name, value in told.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body


def json_reply(value: Any, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Return `value`, anything msgspec encodes, as a 200."""
    return Reply(body=msgspec.json.encode(value), headers=headers or {})


def status_of(error: GatewayError) -> int:
    """Return the HTTP status of an error: its own, or that of its class."""
    if isinstance(error, errors.UpstreamRejectedError):
        return error.status
    return status_of_kind(type(error))


def status_of_kind(kind: type[GatewayError]) -> int:
    """Return the HTTP status of errors of a class that say none of their own."""
    for ancestor in kind.__mro__:
        if ancestor in _STATUS:
            return _STATUS[ancestor]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def error_reply(error: GatewayError) -> Reply:
    """Return OpenAI's error envelope, with the headers that belong to the status."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        seconds = error.retry_after_seconds or DEFAULT_RETRY_AFTER_SECONDS
        headers["retry-after"] = str(min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER_SECONDS))
    if isinstance(error, errors.MethodNotAllowedError):
        headers["allow"] = ", ".join(error.allowed)
    return Reply(status=status, body=error_body(error), headers=headers)


def error_body(error: GatewayError) -> bytes:
    """Return the envelope `{"error": {"message", "type", "param", "code"}}` as JSON."""
    told = ErrorDetails(message=error.message, type=error.kind, param=error.param, code=error.code)
    return msgspec.json.encode(ErrorAnswer(told))
