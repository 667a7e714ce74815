"""GET /health and /ready: is the process alive, and can it answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from twisted.web.server import Request

from openclaw_twisted.auth.addresses import client_address
from openclaw_twisted.auth.credentials import from_headers
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.scopes import Scope, allows
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.http.endpoint import Call, Reply, json_reply

__all__ = ["Health", "HealthOut", "Ready", "ReadyOut"]

_NOT_STORED = {"cache-control": "no-store"}


class HealthOut(msgspec.Struct):
    """The process is alive."""

    ok: bool = True
    status: Literal["live"] = "live"


class ReadyOut(msgspec.Struct):
    """Whether requests can be answered; `failing`, which not all callers hear, says why not."""

    ready: bool
    failing: Sequence[str] | UnsetType = UNSET


class Health:
    """Says that the process is alive, whatever state its parts are in."""

    async def __call__(self, call: Call) -> Reply:
        """Answer 200."""
        return json_reply(HealthOut(), headers=_NOT_STORED)


@dataclass(frozen=True)
class Ready:
    """Says whether requests can be answered; `failing` names the parts that keep them from it.

    Everybody hears whether, those that `rules` let in also hear what.
    """

    failing: Callable[[], Sequence[str]]
    rules: Doorkeeping

    async def __call__(self, call: Call) -> Reply:
        """Answer 200, or 503 with what is failing."""
        failing = self.failing()
        may_know = self._may_know(call.request)
        body = msgspec.json.encode(ReadyOut(not failing, failing if may_know else UNSET))
        if not failing:
            return Reply(body=body, headers=_NOT_STORED)
        headers = _NOT_STORED | {"retry-after": "1"}
        return Reply(status=HTTPStatus.SERVICE_UNAVAILABLE, body=body, headers=headers)

    def _may_know(self, request: Request) -> bool:
        headers, peer = request.requestHeaders, getattr(request.getClientAddress(), "host", "")
        try:
            identity = self.rules.gate.check(
                from_headers(headers), client_address(peer, headers, self.rules.proxies)
            )
        except GatewayError:  # a probe is answered whoever sends it
            return False
        return allows(identity.scopes, Scope.READ)
