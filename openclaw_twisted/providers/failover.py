"""Models tried in order, each up to twice: the way on when an answer cannot begin.

What may pass by itself is tried again after a moment (a connection that was refused or lost, a server that
says it is broken or overloaded), within five seconds and within what the provider has left of its retry
budget; what would fail the same way soon is not (a wrong key, a rate limit, a silence). Then comes the next
model. An upstream that says when to come back is believed: if that is too late, there is no second try, and
with another model to ask a second is too late.

Once anything of an answer has been passed on there is no way back, so a later failure is the caller's to
hear. A refusal of the request itself would be the same everywhere and is not tried elsewhere; that there is
no such model (404) is none.

The last failure is told, but that a further model could not even be asked, for want of a provider or a key,
says nothing of why the others did not answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import aclosing
from http import HTTPStatus
from random import random
from typing import Literal

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from openclaw_twisted.boundaries import Batches, ModelRequest, Provider, Taker
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
from openclaw_twisted.events import ModelAnswering
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.retry_budget import RetryBudget

__all__ = ["Failover", "Then"]

TRIES = 2
RETRY_SECONDS = 0.25
BUDGET_SECONDS = 5.0
SWITCH_SECONDS = 1.0
"""The longest wait for a model while there is another one."""

Then = Literal["retry", "fallback", "give up"]
"""What follows a failure."""

_UNASKED = (AgentNotFoundError, NoProviderError)
_LASTING = (UpstreamAuthError, UpstreamRateLimitError, UpstreamRejectedError, UpstreamTimeoutError)


class Failover:
    """A provider that asks the catalog for `model`, then for each of `fallbacks`.

    `retry_seconds` is the moment before the second try, up to twice as long by `jitter`, which gives a
    number from 0 to 1, so that many gateways do not try again in the same moment. `observe` hears of every
    failure: the model, the error, and what follows.
    """

    _log = Logger()

    def __init__(
        self,
        catalog: Catalog,
        clock: IReactorTime,
        *,
        retry_seconds: float = RETRY_SECONDS,
        jitter: Callable[[], float] = random,
        observe: Callable[[str, GatewayError, Then], object] = lambda _model, _error, _then: None,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._jitter = jitter
        self._observe = observe
        self._budgets: defaultdict[str, RetryBudget] = defaultdict(RetryBudget)

    def check(self, model: str) -> None:
        """Raise what the provider behind knows."""
        self._catalog.check(model)

    async def respond(self, request: ModelRequest) -> Batches:
        """Yield the answer of the first model that begins one, with `ModelAnswering` before it."""
        models = [request.model, *request.fallbacks]
        tries, ends_at = 1, self._begin(models[0])
        told: GatewayError | None = None
        while True:
            question = request
            if request.fallbacks:
                question = msgspec.structs.replace(request, model=models[0], fallbacks=())
            answered = False
            taker: Taker | None = None
            try:
                async with aclosing(self._catalog.respond(question)) as answer:
                    while True:
                        events = await answer.asend(taker)
                        if not answered:
                            answered = True
                            events = (self._answering(models[0], tries, request.model), *events)
                        taker = yield events
            except StopAsyncIteration:
                return
            except (UpstreamError, ModelNotReadyError, *_UNASKED) as error:
                then, pause = self._then(models, error, tries, ends_at, begun=answered)
                self._observe(models[0], error, then)
                told = told if told is not None and isinstance(error, _UNASKED) else error
                if then == "give up":
                    raise told from told.__cause__
                if then == "retry":
                    self._tell(models[0], models[0], error)
                    tries += 1
                    await deferLater(self._clock, pause)
                    continue
                self._tell(models[0], models[1], error)
                del models[0]
                tries, ends_at = 1, self._begin(models[0])

    def _begin(self, model: str) -> float:
        """Note the first try of a model, and return when there is no time for another."""
        self._budget(model).asked()
        return self._clock.seconds() + BUDGET_SECONDS

    def _answering(self, model: str, tries: int, asked_for: str) -> ModelAnswering:
        name = self._catalog.full_name(model)
        first = name if model == asked_for else self._catalog.full_name(asked_for)
        return ModelAnswering(name, tries, first if name != first else None)

    def _then(
        self, models: Sequence[str], error: GatewayError, tries: int, ends_at: float, *, begun: bool
    ) -> tuple[Then, float]:
        """Return what follows, and in how many seconds."""
        if begun or (isinstance(error, UpstreamRejectedError) and error.status != HTTPStatus.NOT_FOUND):
            return "give up", 0.0
        alone = len(models) == 1
        if tries < TRIES and _passing(error):
            pause = self._retry_seconds * 2.0 ** (tries - 1) * (1 + self._jitter())
            pause = max(pause, error.retry_after_seconds or 0.0)
            in_time = self._clock.seconds() + pause < ends_at and (alone or pause <= SWITCH_SECONDS)
            if in_time and self._budget(models[0]).take():
                return "retry", pause
        return ("give up" if alone else "fallback"), 0.0

    def _budget(self, model: str) -> RetryBudget:
        return self._budgets[self._catalog.provider_id(model)]

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
