"""Sending at once what a socket takes at once.

Twisted's `write` only queues: it asks the kernel to tell when the socket is writable, waits for the next turn
of the reactor, sends, and takes the question back. For a stream of small pieces that is most of what a piece
costs, and a socket that is not full would have taken it right away.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection

__all__ = ["send_now"]


def send_now(transport: Any, data: bytes) -> None:
    """Send `data` now as far as the socket takes it, and queue the rest.

    Order and back-pressure are Twisted's: with anything in its queue, or over TLS, this is `transport.write`.
    """
    if (
        not isinstance(transport, Connection)
        or transport.TLS
        or not transport.connected
        or transport.disconnecting
        or transport.dataBuffer
        or transport._tempDataBuffer  # noqa: SLF001 - the other half of the queue
    ):
        transport.write(data)
        return
    try:
        sent = transport.socket.send(data)
    except OSError:
        sent = 0  # the reactor finds the same when it tries, and waits or ends the connection as it should
    if sent < len(data):
        transport.write(data[sent:])
