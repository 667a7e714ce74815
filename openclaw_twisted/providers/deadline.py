"""A limit on the time that one answer may take in all, however often something of it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from openclaw_twisted.boundaries import Batches, Taker
from openclaw_twisted.errors import UpstreamTimeoutError
from openclaw_twisted.events import ProviderEvent

__all__ = ["within"]


async def within(answer: Batches, seconds: float, *, clock: IReactorTime, words: str) -> Batches:
    """Yield what `answer` yields; after `seconds` stop it and raise `UpstreamTimeoutError(words)`.

    Time counts while the answer is waited for and while it waits to be asked for more.
    """
    async with aclosing(answer):
        arriving = Deferred.fromCoroutine(_next(answer, None))
        # From here on: a limit on silence that is as long ends before it, and tells that the upstream hangs.
        ends_at = clock.seconds() + seconds
        while True:
            left = max(ends_at - clock.seconds(), 0.0)
            arriving.addTimeout(left, clock, lambda *_: Failure(UpstreamTimeoutError(words)))
            batch = await arriving
            if batch is None:
                return
            taker = yield batch
            arriving = Deferred.fromCoroutine(_next(answer, taker))


async def _next(answer: Batches, taker: Taker | None) -> Sequence[ProviderEvent] | None:
    try:
        return await answer.asend(taker)
    except StopAsyncIteration:
        return None
