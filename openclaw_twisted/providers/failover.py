"""Models tried in order, each up to twice: the way on when an answer cannot begin.

What can be tried again at once is tried again after a moment (a connection that was refused or lost, a
server that says it is broken or overloaded), within a budget of five seconds; what would fail the same
way soon is not (a wrong key, a rate limit, a silence). Then comes the next model. Once a byte of an
answer has been passed on there is no way back, so a later failure is the caller's to hear. A refusal of the
request itself would be the same everywhere and is not tried elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from random import random
from typing import Literal

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from openclaw_twisted.boundaries import ModelRequest, Provider
from openclaw_twisted.errors import (
    AgentNotFoundError,
    GatewayError,
    ModelNotReadyError,
    NoProviderError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamRateLimitError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import ProviderEvent

__all__ = ["Failover", "Then"]

TRIES = 2
RETRY_SECONDS = 0.25
BUDGET_SECONDS = 5.0

Then = Literal["retry", "fallback", "give up"]
"""What follows a failure."""

_LASTING = (UpstreamAuthError, UpstreamRateLimitError, UpstreamRejectedError, UpstreamTimeoutError)


class Failover:
    """A provider that asks another one for `model`, then for each of `fallbacks`.

    `retry_seconds` is the moment before the second try, up to twice as long by `jitter`, which gives a
    number from 0 to 1, so that many gateways do not try again in the same moment. `observe` hears of every
    failure: the model, the error, and what follows.
    """

    _log = Logger()

    def __init__(
        self,
        provider: Provider,
        clock: IReactorTime,
        *,
        retry_seconds: float = RETRY_SECONDS,
        jitter: Callable[[], float] = random,
        observe: Callable[[str, GatewayError, Then], object] = lambda _model, _error, _then: None,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._jitter = jitter
        self._observe = observe

    def check(self, model: str) -> None:
        """Raise what the provider behind knows."""
        self._provider.check(model)

    async def respond(self, request: ModelRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        """Yield the answer of the first model that begins one."""
        models = [request.model, *request.fallbacks]
        tries, began_at = 0, self._clock.seconds()
        while True:
            question = msgspec.structs.replace(request, model=models[0], fallbacks=())
            answered = False
            try:
                async with aclosing(self._provider.respond(question)) as answer:
                    async for events in answer:
                        answered = True
                        yield events
            except (UpstreamError, ModelNotReadyError, NoProviderError, AgentNotFoundError) as error:
                tries += 1
                spent = self._clock.seconds() - began_at
                final = answered or isinstance(error, UpstreamRejectedError)
                then: Then = "give up" if final else self._then(error, tries, spent, alone=len(models) == 1)
                self._observe(models[0], error, then)
                if then == "give up":
                    raise
                if then == "retry":
                    self._tell(models[0], models[0], error)
                    await deferLater(self._clock, self._retry_seconds * (1 + self._jitter()))
                    continue
                self._tell(models[0], models[1], error)
                del models[0]
                tries, began_at = 0, self._clock.seconds()
            else:
                return

    def _then(self, error: GatewayError, tries: int, spent_seconds: float, *, alone: bool) -> Then:
        in_time = spent_seconds + 2 * self._retry_seconds < BUDGET_SECONDS
        if tries < TRIES and in_time and _passing(error):
            return "retry"
        return "give up" if alone else "fallback"

    def _tell(self, model: str, following: str, error: GatewayError) -> None:
        self._log.warn(
            "model {model} did not answer ({code}), trying {following}",
            model=model,
            following=following,
            code=error.code,
        )


def _passing(error: GatewayError) -> bool:
    return isinstance(error, UpstreamError) and not isinstance(error, _LASTING)


_fits: type[Provider] = Failover
