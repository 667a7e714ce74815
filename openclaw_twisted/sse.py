"""text/event-stream, both ways (https://html.spec.whatwg.org/multipage/server-sent-events.html).

The theory: a stream is lines ended by CR, LF or CRLF; a blank line ends an event; an event's data is
its `data` lines joined by LF; lines that begin with a colon are comments. In OpenAI's dialect everything
stands in the data; the Responses API repeats its type as the event's name. So `encode` writes a name only
where it is given one, and `Decoder` hands out the data alone. An event that
the stream cut off (no blank line at the end) is not an event, with one exception the field forces on
us: `finish` returns the pending data, because several servers omit the blank line after `[DONE]`.
"""

from __future__ import annotations

__all__ = ["DONE", "Decoder", "EventTooLargeError", "commented", "encode"]

DONE = b"data: [DONE]\n\n"

MAX_EVENT_BYTES = 10 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event is larger than the decoder's limit."""


def encode(data: bytes, event: str | None = None) -> bytes:
    r"""Return one event; `data` is JSON text and therefore holds no line break."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + data + b"\n\n"


def commented(text: str, event: bytes) -> bytes:
    """Return an event behind a line that readers skip; `text` holds no line break.

    A comment may stand alone (the event is a blank line then), but OpenAI's client for Go took that for an
    event without data, and ended its stream, until https://github.com/openai/openai-go/pull/621.
    """
    return b": " + text.encode() + b"\n" + event


class Decoder:
    """Bytes in, the data of whole events out, at any split of the bytes."""

    __slots__ = ("_at_start", "_data", "_max_event_bytes", "_size", "_tail", "_tail_bytes")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._data: list[bytes] = []
        self._size = 0
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the data of every event they complete.

        Raises `EventTooLargeError` when a single event exceeds the limit.
        """
        plain = chunk[:6] == b"data: " and chunk[-2:] == b"\n\n" and b"\r" not in chunk
        if plain and not (self._tail or self._data) and len(chunk) <= self._max_event_bytes:
            # Nearly always a read brings whole events of one line each.
            events = chunk[6:-2].split(b"\n\ndata: ")
            if chunk.count(b"\n") == 2 * len(events):
                self._at_start = False
                return events
        if self._tail:
            if self._may_wait(chunk):
                self._keep(chunk)
                self._grow(0)
                return []
            chunk = b"".join((*self._tail, chunk))
            self._tail.clear()
            self._tail_bytes = 0
        if self._at_start:
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._keep(chunk)
                return []
            chunk = chunk.removeprefix(_BOM)
            self._at_start = False
        if b"\r" in chunk:
            return self._feed_with_carriage_returns(chunk)
        lines = chunk.split(b"\n")
        self._keep(lines.pop())
        return self._lines(lines)

    def finish(self) -> bytes | None:
        """Return the data of an event whose closing blank line never came, if there is one."""
        tail = b"".join(self._tail).removesuffix(b"\r")
        self._tail.clear()
        self._tail_bytes = 0
        self._lines([tail] if tail else [])
        data = b"\n".join(self._data) if self._data else None
        self._data = []
        return data

    def _may_wait(self, chunk: bytes) -> bool:
        # A long line that comes in many pieces is put together once, when its end is here.
        return not (self._at_start or b"\n" in chunk or b"\r" in chunk or self._tail[-1].endswith(b"\r"))

    def _keep(self, tail: bytes) -> None:
        if tail:
            self._tail.append(tail)
            self._tail_bytes += len(tail)

    def _feed_with_carriage_returns(self, buffer: bytes) -> list[bytes]:
        held = b""
        if buffer.endswith(b"\r"):  # the LF of a CRLF may be in the next chunk
            buffer, held = buffer[:-1], b"\r"
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._keep(lines.pop() + held)
        return self._lines(lines)

    def _lines(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._grow(len(value))
            elif not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data = []
                self._size = 0
            elif line == b"data":
                self._data.append(b"")
        self._grow(0)
        return events

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size + self._tail_bytes > self._max_event_bytes:
            raise EventTooLargeError(f"an event exceeds {self._max_event_bytes} bytes")
