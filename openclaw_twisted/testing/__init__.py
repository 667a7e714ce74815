"""Fakes for our tests and for yours: each implements a boundary, or is handed in where the real one would be.

Nothing here patches anything.
"""

from __future__ import annotations

from openclaw_twisted.testing.door import LoopbackDoor
from openclaw_twisted.testing.fault_proxy import Fault, FaultProxy
from openclaw_twisted.testing.messages import block_of, message_event, message_of
from openclaw_twisted.testing.reactor import real_reactor
from openclaw_twisted.testing.runs import Collector, MemoryRuns, run_request, user
from openclaw_twisted.testing.upstream import FakeUpstream, UpstreamCall, chunk, stream_of

__all__ = [
    "Collector",
    "FakeUpstream",
    "Fault",
    "FaultProxy",
    "LoopbackDoor",
    "MemoryRuns",
    "UpstreamCall",
    "block_of",
    "chunk",
    "message_event",
    "message_of",
    "real_reactor",
    "run_request",
    "stream_of",
    "user",
]
