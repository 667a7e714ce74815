"""The fields of a request's head, all at once where nothing is the matter with them.

Twisted reads a head line by line, which costs as much as everything that admission checks. A client's head
comes in one piece, though, and hardly ever holds what needs looking at twice. What does is left to Twisted,
untouched, so that there is one reader that refuses.
"""

from __future__ import annotations

from twisted.web.http_headers import Headers, InvalidHeaderName

__all__ = ["plain_fields"]


def plain_fields(head: bytes, max_fields: int) -> Headers | None:
    """Return the fields of a head without its request line and its last line end, or None: read with care.

    Plain is what every reader takes for the same: names of letters that names may have, values without
    control characters on a line of their own, no transfer coding, at most one length, and that a number.
    """
    lines = head.split(b"\r\n")
    ends = len(lines) - 1
    if ends >= max_fields or head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        return None
    fields = Headers()
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            return None
        try:
            fields.addRawHeader(name, value.strip(b" \t"))
        except InvalidHeaderName:  # a line that goes on where the one before ended is among these
            return None
    lengths = fields.getRawHeaders(b"content-length") or ()
    if fields.hasHeader(b"transfer-encoding") or len(lengths) > 1 or not all(map(bytes.isdigit, lengths)):
        return None
    return fields
