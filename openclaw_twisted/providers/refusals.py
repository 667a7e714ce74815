"""What a provider's refusal means for the caller: one table from status and body to our errors.

The provider's own words are passed on, because they say what to change, but cut to 2 KB and
with anything that looks like a credential taken out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from openclaw_twisted.errors import (
    ContextLengthError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)

__all__ = ["MAX_ERROR_BODY_BYTES", "UNREADABLE", "redact", "refusal", "retry_after_seconds"]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON: also for what is no UTF-8, and for a thousand brackets."""

MAX_ERROR_BODY_BYTES = 64 * 1024
MAX_MESSAGE_CHARACTERS = 2000
MAX_RETRY_AFTER_SECONDS = 120.0
HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
MIN_SECRET_CHARACTERS = 8

_CREDENTIAL = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|pk|rk|gsk|xai|key|token)[-_][\w-]{8,}\S*)")
_TOO_LONG = re.compile(
    r"(?i)context.?(?:length|size|window|limit)|maximum context|too many tokens"
    r"|(?:prompt|input) is too long|prompt exceeds|maximum prompt length|range of input length"
    r"|token count.{0,40}exceeds|exceeded model token limit|`inputs` tokens"
    r"|reduce (?:the length of the messages|your message size)"
)
"""How providers say that a conversation is too long: few have a code for it, and each has its own words."""

_OURS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN)
_UNPAID = re.compile(r"(?i)credit balance is too low|insufficient (?:balance|credit|funds)")
"""How providers say that an account is empty, where they have no status for it."""

_WORDS = ("error", "message", "detail", "msg", "errors")
"""Where in an error its words are, or the object or list that holds them."""

MAX_DEPTH = 6
MAX_LISTED = 5


def refusal(
    name: str,
    status: int,
    body: bytes,
    *,
    retry_after: float | None = None,
    secrets: Iterable[str] = (),
) -> UpstreamError:
    """Return the error that the provider's answer `status` with `body` stands for.

    `name` is what the provider is called in messages; `retry_after` the seconds it asks to wait;
    `secrets` are texts that must not be passed on whatever they look like.
    """
    said = redact(_message_in(body), secrets)
    words = f": {said}" if said else ""
    match status:
        case _ if status in _OURS or (status == HTTPStatus.BAD_REQUEST and _UNPAID.search(said)):
            return _refused_us(name, status, words)
        case 400 | 413 | 422 | 500 | 502 if _TOO_LONG.search(said):
            # LangChain knows this error by its code, and looks for that in the message.
            return ContextLengthError(f"{name} refused the request ({ContextLengthError.code}){words}")
        case 408 | 504:
            return UpstreamTimeoutError(f"{name} timed out ({status}){words}")
        case 429:
            return UpstreamRateLimitError(f"{name} is rate limiting{words}", retry_after_seconds=retry_after)
        case 503 | 529:
            return UpstreamOverloadedError(
                f"{name} is overloaded ({status}){words}", retry_after_seconds=retry_after
            )
        case _ if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            ours = HTTPStatus.NOT_FOUND if status == HTTPStatus.NOT_FOUND else HTTPStatus.BAD_REQUEST
            return UpstreamRejectedError(f"{name} refused the request ({status}){words}", status=ours)
        case _ if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return UpstreamError(
                f"{name} answered with a redirect, which is not followed. Check its baseUrl."
            )
        case _:
            return UpstreamError(f"{name} failed ({status}){words}")


def _refused_us(name: str, status: int, words: str) -> UpstreamAuthError:
    if status == HTTPStatus.UNAUTHORIZED:
        words = ""  # many repeat the key, or most of it
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        what = f"The gateway's credentials for provider {name} were refused ({status}). Check its apiKey"
    else:
        what = f"Provider {name} wants to be paid ({status}). Check its account"
    return UpstreamAuthError(f"{what}{words or '.'}")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` on one line, cut to 2,000 characters, without credentials."""
    for secret in secrets:
        for piece in secret.split():
            if len(piece) >= MIN_SECRET_CHARACTERS:
                text = text.replace(piece, "***")
    text = _CREDENTIAL.sub("***", text)
    return " ".join(text.split())[:MAX_MESSAGE_CHARACTERS]


def _message_in(body: bytes | str) -> str:
    try:
        said: Any = msgspec.json.decode(body)
    except UNREADABLE:
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        # HTML and the like say nothing that a caller could use.
        return "" if text.lstrip().startswith("<") else text
    return _words_in(said, MAX_DEPTH)


def _words_in(said: Any, depth: int) -> str:
    """Return what an error says: in a text, in one of the places that are usual, or in several."""
    if isinstance(said, str):
        return said
    if not depth:
        return ""
    if isinstance(said, list):  # Google's errors come in one, and those of forms say one thing of each field
        return "; ".join(filter(None, (_words_in(each, depth - 1) for each in said[:MAX_LISTED])))
    if not isinstance(said, dict):
        return ""
    words = next(filter(None, (_words_in(said.get(key), depth - 1) for key in _WORDS)), "")
    match said:
        case {"loc": [*place]} if words:
            return f"{'.'.join(map(str, place))}: {words}"
        case {"metadata": {"raw": str(raw)}}:  # what the one said whom a router asked
            return ": ".join(filter(None, (words, _message_in(raw))))
        case _:
            return words


def retry_after_seconds(text: str | None, date: str | None = None) -> float | None:
    """Return the seconds that a `Retry-After` asks for, at most two minutes; None if it makes no sense.

    A time counts from `date`, the `Date` of the same answer, as the server's clock need not agree with ours.
    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        at, now = _moment(text), _moment(date or "")
        if at is None or now is None:
            return None
        seconds = (at - now).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip(), HTTP_DATE)  # noqa: DTZ007 - two of them are compared
    except ValueError:
        return None
