"""The fields of a request's head, all at once where nothing is the matter with them.

Twisted reads a head line by line, which costs as much as everything that admission checks. A client's head
comes in one piece, though, and hardly ever holds what needs looking at twice. What does is left to Twisted,
untouched, so that there is one reader that refuses.
"""

from __future__ import annotations

from functools import lru_cache

from twisted.web.http_headers import Headers, InvalidHeaderName

__all__ = ["MAX_LENGTH_DIGITS", "plain_fields"]

MAX_LENGTH_DIGITS = 19
"""What the largest length has that anybody can count to; Python reads no number of thousands of digits."""

# Clients have names of their own for what they are, but each the same ones in every request.
REMEMBERED_NAMES = 256


def plain_fields(head: bytes, max_fields: int) -> Headers | None:
    """Return the fields of a head without its request line and its last line end, or None: read with care.

    Plain is what every reader takes for the same: names of letters that names may have, values without
    control characters on a line of their own, no transfer coding, at most one length, and that a number
    of no more than `MAX_LENGTH_DIGITS`.
    """
    lines = head.split(b"\r\n")
    ends = len(lines) - 1
    if ends >= max_fields or head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        return None
    values: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        spelled = _spelled(name)
        if not colon or spelled is None:  # a line that goes on where the one before ended is among these
            return None
        values.setdefault(spelled, []).append(value.strip(b" \t"))
    lengths = values.get(b"Content-Length", ())
    if b"Transfer-Encoding" in values or len(lengths) > 1:
        return None
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= MAX_LENGTH_DIGITS):
        return None
    fields = Headers()
    # They are in order; `addRawHeader` would look at each once more.
    fields._rawHeaders = values  # noqa: SLF001
    return fields


@lru_cache(maxsize=REMEMBERED_NAMES)
def _spelled(name: bytes) -> bytes | None:
    """Return a name as `Headers` spell it, None when it cannot be one."""
    try:
        return next(name for name, _ in Headers({name: [b""]}).getAllRawHeaders())
    except InvalidHeaderName:
        return None
