"""How much of an answer may wait in this process, and how much of it the client has taken.

A stream is held up by what its reader has not taken, and two buffers hide that: Twisted's, whose size is
set here, and the kernel's, which grows to megabytes on a fast network and is told here to keep little more
than what is under way. What the reader has taken only the kernel knows: it counts the acknowledged bytes.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.protocols.policies import ProtocolWrapper

__all__ = ["Outflow"]

KERNEL_UNSENT_BYTES = 16 * 1024

# Where `struct tcp_info` of linux/tcp.h holds tcpi_bytes_acked (since Linux 4.1).
_ACKED_OFFSET = 120
_ACKED = struct.Struct("@Q")


class Outflow:
    """The sending side of one client's connection."""

    def __init__(self, transport: Any) -> None:
        while isinstance(transport, ProtocolWrapper):  # TLS
            transport = transport.transport
        self._transport = transport
        handle = getattr(transport, "getHandle", None)
        self._socket: socket.socket | None = handle() if handle is not None else None
        self._usual_bytes: int | None = None

    def limit(self, unsent_bytes: int) -> None:
        """Let Twisted call for a pause when this many bytes are unsent, and the kernel hold back little."""
        # The same number is how much Twisted reads at once, so it is for the time of a stream only.
        self._usual_bytes = self._transport.bufferSize
        self._transport.bufferSize = unsent_bytes
        if self._socket is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_UNSENT_BYTES)

    def release(self) -> None:
        """Take the limit off Twisted's buffer again."""
        if self._usual_bytes is not None:
            self._transport.bufferSize = self._usual_bytes

    def taken(self) -> int | None:
        """Return how many bytes the client's side has acknowledged so far; None where nobody knows."""
        if self._socket is None or not hasattr(socket, "TCP_INFO"):
            return None
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:  # not a TCP socket, or closed
            return None
        if len(info) < _ACKED_OFFSET + _ACKED.size:
            return None
        return int(_ACKED.unpack_from(info, _ACKED_OFFSET)[0])
