"""GET /health and /ready: is the process alive, and can it answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from openclaw_twisted.http.endpoint import Call, Reply

__all__ = ["Health", "Ready"]

_NOT_STORED = {"cache-control": "no-store"}


class Health:
    """Says that the process is alive, whatever state its parts are in."""

    async def __call__(self, call: Call) -> Reply:
        """Answer 200."""
        return Reply(body=b'{"ok":true,"status":"live"}', headers=_NOT_STORED)


@dataclass(frozen=True)
class Ready:
    """Says whether requests can be answered; `failing` names the parts that keep them from it."""

    failing: Callable[[], Sequence[str]]

    async def __call__(self, call: Call) -> Reply:
        """Answer 200, or 503 with what is failing."""
        failing = list(self.failing())
        if not failing:
            return Reply(body=b'{"ready":true,"failing":[]}', headers=_NOT_STORED)
        return Reply(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            body=msgspec.json.encode({"ready": False, "failing": failing}),
            headers=_NOT_STORED | {"retry-after": "1"},
        )
