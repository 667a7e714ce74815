"""Answers that come compressed, although few are asked for in that form."""

from __future__ import annotations

import zlib
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

__all__ = ["Unzipping"]

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Unzipping(Protocol):
    """Hands to `body`, which takes an answer's body, what was compressed with gzip; anything else ends it.

    Twisted's decoder lets the error out into the connection, where it would be told as a defect.
    """

    transport: Any

    def __init__(self, body: IProtocol) -> None:
        self._body = body
        self._unzip = zlib.decompressobj(_GZIP_WINDOW).decompress
        self._broken: Failure | None = None

    def connectionMade(self) -> None:  # noqa: N802
        """Let the body pause and stop the connection."""
        self._body.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Pass on what a piece holds, if that is anything yet."""
        if self._broken is not None:
            return
        try:
            plain = self._unzip(data)
        except zlib.error:
            self._broken = Failure()
            self.transport.stopProducing()
            return
        if plain:
            self._body.dataReceived(plain)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Pass on the end; after something that was not compressed it is a bad one."""
        broken = self._broken
        self._body.connectionLost(reason if broken is None else Failure(ResponseFailed([broken])))
