"""A limit on the time that one answer may take in all, however often something of it arrives."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from openclaw_twisted.errors import UpstreamTimeoutError

__all__ = ["within"]

T = TypeVar("T")


async def within(
    answer: AsyncGenerator[T, None], seconds: float, *, clock: IReactorTime, words: str
) -> AsyncGenerator[T, None]:
    """Yield what `answer` yields; after `seconds` stop it and raise `UpstreamTimeoutError(words)`.

    Time counts while the answer is waited for and while it waits to be asked for more.
    """
    ends_at = clock.seconds() + seconds
    async with aclosing(answer):
        while True:
            arriving = Deferred.fromCoroutine(_next(answer))
            left = max(ends_at - clock.seconds(), 0.0)
            arriving.addTimeout(left, clock, lambda *_: Failure(UpstreamTimeoutError(words)))
            batch = await arriving
            if batch is None:
                return
            yield batch


async def _next(answer: AsyncGenerator[T, None]) -> T | None:
    return await anext(answer, None)
