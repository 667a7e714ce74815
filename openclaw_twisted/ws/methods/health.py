"""`health`: the gateway is there and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from openclaw_twisted.ws.method import Answer, Call, Method

__all__ = ["health_methods"]


class _Params(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    # Accepted because OpenClaw's clients send them; there is nothing to probe and nothing secret to include.
    probe: bool = False
    include_sensitive: bool = False


class _Health(Struct, frozen=True):
    ts: int
    ok: bool = True


def health_methods(now: Callable[[], float]) -> tuple[Method[Any], ...]:
    """Return the methods of this family; `now` gives seconds since the epoch."""

    async def health(_call: Call, _params: _Params) -> Answer:
        return Answer(_Health(int(now() * 1000)))

    return (Method("health", _Params, health),)
