"""From a log event to its line: one event is one line, whatever texts of strangers are in it.

Control characters are escaped, so that nobody can write a line of their own or colour the terminal; lines are
cut at 2 KB; and what looks like a credential, or is a secret of the configuration, is taken out even where
somebody has logged one by mistake. Twisted's own formatter understands calls and attributes inside a format
and costs ten times as much as `str.format_map`, which all formats of ours can do with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

__all__ = ["Style", "compact", "json_line", "pretty", "redactor", "text_of"]

MAX_LINE_CHARACTERS = 2048
MAX_TRACEBACK_CHARACTERS = 16_384
MIN_SECRET_CHARACTERS = 8

Style = Callable[[LogEvent, str], str]
"""Turns an event and its text into what is written, line end included."""

_CREDENTIAL = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|pk|rk|gsk|xai|ocd)[-_][\w-]{8,})")
# One of these is in every text that the expression finds something in, but in few others.
_SIGNS = ("bearer", "k-", "k_", "xai-", "xai_", "ocd-", "ocd_")
_WORDS: Mapping[object, str] = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warn",
    LogLevel.error: "error",
    LogLevel.critical: "fatal",
}
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_PLAIN = (str, int, float, bool)


def text_of(event: LogEvent) -> str:
    """Return an event's text on one line."""
    form = event.get("log_format")
    try:
        text = form.format_map(event) if form is not None else formatEvent(event)
    except Exception:  # noqa: BLE001 - an event with calls in its format, or one that cannot be told at all
        text = formatEvent(event)
    if not text.isprintable():
        text = _encodable(text.translate(_ESCAPES))
    return text if len(text) <= MAX_LINE_CHARACTERS else text[: MAX_LINE_CHARACTERS - 1] + "\u2026"


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what takes credentials out of a text: `secrets`, and whatever looks like one."""
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= MIN_SECRET_CHARACTERS}
    known = sorted(forms, key=len, reverse=True)
    found = re.compile("|".join(map(re.escape, known))) if known else None

    def redact(text: str) -> str:
        # Nearly no text holds any of this, and that is told a hundred times faster without the expressions.
        if found is not None and _holds_one(known, text):
            text = found.sub("***", text)
        # Some letters beyond ASCII are upper or lower case of those in the expression.
        if text.isascii() and not _holds_one(_SIGNS, text.lower()):
            return text
        return _CREDENTIAL.sub("***", text)

    return redact


def _forms(secret: str) -> Iterator[str]:
    """Yield what a secret looks like in a line, and in JSON."""
    for line in secret.splitlines():
        yield line
        yield json.dumps(line, ensure_ascii=False)[1:-1]


def _holds_one(pieces: Iterable[str], text: str) -> bool:
    for piece in pieces:  # noqa: SIM110 - `any` takes twice as long
        if piece in text:
            return True
    return False


def _encodable(text: str) -> str:
    """Return a text that UTF-8 can tell: a file's name may hold bytes that are none."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def pretty(event: LogEvent, text: str) -> str:
    """Return a line for people: time, level, where, what."""
    return f"{_time(event)} {_word(event):5} [{_place(event)}] {text}{_traceback(event)}\n"


def compact(event: LogEvent, text: str) -> str:
    """Return a line for narrow terminals: the time of day and what."""
    return f"{_time(event)[11:19]} {text}{_traceback(event)}\n"


def json_line(event: LogEvent, text: str) -> str:
    """Return a JSON object: time, level, logger, message, the event's own values, and a traceback."""
    told: dict[str, Any] = {
        "time": _time(event),
        "level": _word(event),
        "logger": _place(event),
        "message": text,
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in told and isinstance(value, _PLAIN):
            told[name] = value if not isinstance(value, str) else _encodable(value[:MAX_LINE_CHARACTERS])
    if traceback := _traceback(event):
        told["traceback"] = _encodable(traceback.strip())
    return msgspec.json.encode(told).decode() + "\n"


class _Clock:
    """The time of an event as text; the part up to the second is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, event: LogEvent) -> str:
        at = event.get("log_time", 0.0)
        second = int(at)
        if second != self._second:
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{int((at - second) * 1000):03d}Z"


_time = _Clock()


def _word(event: LogEvent) -> str:
    return _WORDS.get(event.get("log_level"), "info")


def _place(event: LogEvent) -> str:
    return str(event.get("log_namespace", "-")).removeprefix("openclaw_twisted.")


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return ""
    lines = failure.getTraceback()[-MAX_TRACEBACK_CHARACTERS:].splitlines()
    return "".join("\n    " + line.translate(_ESCAPES) for line in lines)
