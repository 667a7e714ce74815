"""What a method is: a name, the shape of its params, and a function that answers a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from openclaw_twisted.errors import ForbiddenError, GatewayError
from openclaw_twisted.ws.connect import Client
from openclaw_twisted.ws.params import read

__all__ = ["Answer", "Call", "Method", "missing_scope"]

Params = TypeVar("Params")
Payload_co = TypeVar("Payload_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as a method sees it; `accept` sends a first response, before the one that is returned.

    After `hold` this client hears of no events until a response was sent.
    """

    client: Client
    accept: Callable[[Any], None]
    hold: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Answer(Generic[Payload_co]):
    """The final response: a payload, or an error that may come with one, and with details for programs."""

    payload: Payload_co | UnsetType = UNSET
    error: GatewayError | None = None
    details: Any = UNSET


def missing_scope(client: Client, scope: str) -> Answer[Any]:
    """Return the answer for a client that lacks a scope: details for version 4, a message for version 3."""
    details = {"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]}
    error = ForbiddenError(f"missing scope: {scope}")
    return Answer(error=error, details=details if client.speaks_4 else UNSET)


class Method(Generic[Params]):
    """Something that clients can call.

    `respond` is cancelled when the client is gone, and raises `GatewayError` for what goes wrong.
    """

    def __init__(
        self, name: str, params: type[Params], respond: Callable[[Call, Params], Awaitable[Answer[Any]]]
    ) -> None:
        self.name = name
        self.params = params
        self._decoder = msgspec.json.Decoder(params)
        self._respond = respond

    @property
    def payload(self) -> Any:
        """The type of what it answers, as the function that answers declares it."""
        return get_args(get_type_hints(self._respond)["return"])[0]

    async def answer(self, call: Call, params: msgspec.Raw) -> Answer[Any]:
        """Read the params and answer; raises `GatewayError`."""
        return await self._respond(call, read(self.name, params, self._decoder))
