"""Models tried in order: the next one when the last could not begin an answer.

Once a byte of an answer has been passed on there is no way back, so a later failure is the caller's to
hear. A refusal of the request itself would be the same everywhere and is not tried elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from twisted.logger import Logger

from openclaw_twisted.boundaries import ModelRequest, Provider
from openclaw_twisted.errors import (
    AgentNotFoundError,
    GatewayError,
    ModelNotReadyError,
    NoProviderError,
    UpstreamError,
    UpstreamRejectedError,
)
from openclaw_twisted.events import ProviderEvent

__all__ = ["Failover"]


class Failover:
    """A provider that asks another one for `model`, then for each of `fallbacks`."""

    _log = Logger()

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def check(self, model: str) -> None:
        """Raise what the provider behind knows."""
        self._provider.check(model)

    async def respond(self, request: ModelRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        """Yield the answer of the first model that begins one."""
        left = [request.model, *request.fallbacks]
        while left:
            model = left.pop(0)
            question = msgspec.structs.replace(request, model=model, fallbacks=())
            began = False
            try:
                async with aclosing(self._provider.respond(question)) as answer:
                    async for events in answer:
                        began = True
                        yield events
            except (UpstreamError, ModelNotReadyError, NoProviderError, AgentNotFoundError) as error:
                if began or not left or isinstance(error, UpstreamRejectedError):
                    raise
                self._tell(model, left[0], error)
            else:
                return

    def _tell(self, model: str, following: str, error: GatewayError) -> None:
        self._log.warn(
            "model {model} did not answer ({code}), trying {following}",
            model=model,
            following=following,
            code=error.code,
        )


_fits: type[Provider] = Failover
