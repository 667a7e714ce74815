"""Readers that do not read: `python benchmarks/stalled_readers.py [READERS]`.

Each asks for a stream of 20 MB and takes nothing of it. It prints by how much the gateway's memory grew, how
much of each stream the provider got rid of, and what a reader that takes 20 KB a second has meanwhile heard.
The readers that take nothing are dropped after `streamStallSeconds` (here 10). Linux.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from processes import TOKEN, gateway, resident_bytes
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.python.failure import Failure
from zope.interface import implementer

from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk

READERS = 100
LIMITS = {"streamStallSeconds": 10}
WATCH_SECONDS = 6
STREAM_BYTES = 20 * 1024 * 1024
RECEIVE_BUFFER_BYTES = 4096
SEND_BUFFER_BYTES = 65536
SIP_BYTES = 2048
SIPS_PER_SECOND = 10

MIB = 1024 * 1024
EVENT = chunk({"content": "word " * 20})
PIECE = b"%x\r\n%b\r\n" % (len(EVENT) * 50, EVENT * 50)


@implementer(IPullProducer)
class Flood:
    """Sends a long stream as fast as it is taken."""

    def __init__(self, call: UpstreamCall) -> None:
        self.sent = 0
        self._call = call
        call.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        call.stream()
        call.transport.registerProducer(self, False)  # noqa: FBT003 - Twisted's signature

    def resumeProducing(self) -> None:  # noqa: N802
        """Send another piece."""
        if self.sent < STREAM_BYTES:
            self.sent += len(PIECE)
            self._call.send(PIECE)
        else:
            self._call.transport.unregisterProducer()

    def stopProducing(self) -> None:  # noqa: N802
        """Nothing is left to stop: the connection is gone."""


class Reader(Protocol):
    """A client that takes nothing unless it is told to."""

    transport: Any

    def __init__(self) -> None:
        self.heard = 0
        self.closed = False

    def connectionMade(self) -> None:  # noqa: N802
        """Ask, and stop reading."""
        handle = self.transport.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        body = json.dumps(
            {"model": "openclaw", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        )
        self.transport.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        self.transport.pauseProducing()

    def sip(self) -> None:
        """Take a little."""
        if not self.closed:
            self.transport.bufferSize = SIP_BYTES
            self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Count what comes, and stop reading again."""
        self.heard += len(data)
        self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Note that the gateway has hung up."""
        self.closed = True


async def main(reactor: Any, readers: str = str(READERS)) -> None:
    """Print the figures."""
    floods: list[Flood] = []
    upstream = FakeUpstream(lambda call: floods.append(Flood(call)))
    upstream.listen(reactor)
    try:
        async with gateway(reactor, upstream.port, limits=LIMITS) as (
            port,
            pid,
        ):
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
            before = resident_bytes(pid)
            stalled = [await connectProtocol(endpoint, Reader()) for _ in range(int(readers))]
            slow = await connectProtocol(endpoint, Reader())
            sipping = LoopingCall(slow.sip)
            sipping.clock = reactor
            sipping.start(1 / SIPS_PER_SECOND)
            await deferLater(reactor, WATCH_SECONDS)
            grown = resident_bytes(pid) - before
            sent = sorted(flood.sent for flood in floods)
            print(f"{len(floods)} streams, memory +{grown / MIB:.1f} MiB")
            print(f"taken from the provider: {sent[0] / MIB:.2f} to {sent[-1] / MIB:.2f} MiB of each stream")
            while not all(_gone(reader) for reader in stalled):
                await deferLater(reactor, 0.1)
            print(
                f"all {readers} that took nothing were dropped; the slow one has {slow.heard} bytes", end=" "
            )
            print("and goes on" if not slow.closed else "and was dropped")
            print(f"memory afterwards +{(resident_bytes(pid) - before) / MIB:.1f} MiB")
            sipping.stop()
            slow.transport.abortConnection()
    finally:
        await upstream.stop()


def _gone(reader: Reader) -> bool:
    """Tell whether the gateway has reset the connection; one that does not read is not told by itself."""
    if reader.closed:
        return True
    state = reader.transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return bool(state != 1)  # TCP_ESTABLISHED


if __name__ == "__main__":
    react(main, sys.argv[1:])
