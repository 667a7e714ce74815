"""Long work, done apart: in a thread, where it holds nobody up.

Whatever the event loop does keeps everybody else waiting, so what grows with a conversation is done there
only while the conversation is small. In a thread Python's own steps let the event loop in between; one call
of C code does not, so work that is done apart should be many short calls rather than a long one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from openclaw_twisted.content import Message, size_of

__all__ = ["LARGE_CHARACTERS", "LARGE_MESSAGES", "Apart"]

# To go through either once takes some 5 ms, and so does switching to a thread and back on a busy machine.
LARGE_CHARACTERS = 512 * 1024
LARGE_MESSAGES = 2000

T = TypeVar("T")


class Apart:
    """Does long work in the threads of `reactor`; without one nothing is large."""

    def __init__(self, reactor: Any = None) -> None:
        self._reactor = reactor

    def is_large(self, messages: Sequence[Message]) -> bool:
        """Tell whether these messages are so much that whatever goes through them is to be done apart."""
        if self._reactor is None:
            return False
        return len(messages) > LARGE_MESSAGES or size_of(messages) > LARGE_CHARACTERS

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        """Return what `work` returns, or fails with; cancelling drops that, not the work."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
