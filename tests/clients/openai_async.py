"""An `AsyncOpenAI`, for the clients that are built on it, in an event loop that lives as long."""

from __future__ import annotations

import asyncio  # noqa: TID251 - it is what these clients run on
from collections.abc import Awaitable, Callable
from typing import TypeVar

from openai import AsyncOpenAI

from tests.clients.contract import Asking
from tests.clients.stage import Stage

__all__ = ["models", "using"]

T = TypeVar("T")


def using(stage: Stage, asking: Asking, work: Callable[[AsyncOpenAI], Awaitable[T]]) -> T:
    """Return what `work` makes of a client."""

    async def worked() -> T:
        async with AsyncOpenAI(
            base_url=stage.base_url, api_key=asking.key, max_retries=asking.retries, timeout=20
        ) as client:
            return await work(client)

    return asyncio.run(worked())


async def models(client: AsyncOpenAI) -> list[str]:
    """Return the ids of the models it lists."""
    return [model.id async for model in client.models.list()]
