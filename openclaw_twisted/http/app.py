"""The Klein routes, and nothing else: one table that routing, admission and the method check share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from klein import Klein
from klein.resource import KleinResource
from twisted.web.server import Request
from werkzeug.routing import MapAdapter

from openclaw_twisted.auth.gate import Identity
from openclaw_twisted.http.endpoint import Call, Endpoint, answer

__all__ = ["Application", "Route"]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One address: `name` is the method and the pattern, as in the table of scopes.

    `max_body_bytes` 0 means that the endpoint reads no body. `disabled_because` says which setting
    switches the endpoint on. `open_to_this_machine` spares programs on this machine the secret.
    """

    name: str
    endpoint: Endpoint
    max_body_bytes: int = 0
    disabled_because: str | None = None
    open_to_this_machine: bool = False

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.name.partition(" ")[0]

    @property
    def pattern(self) -> str:
        """The path as werkzeug writes it: `{id}` takes the rest of the path, slashes included."""
        return self.name.partition(" ")[2].replace("{id}", "<path:id>")


class Known(Protocol):
    """What a call takes from admission: who asks."""

    @property
    def identity(self) -> Identity:
        """The caller."""
        ...


class Admitting(Protocol):
    """A request that has been through admission."""

    admitted: Known


class Application:
    """The routes as a resource to serve and as a matcher to ask."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes: Mapping[str, Route] = {route.name: route for route in routes}
        self._klein = Klein()
        for route in routes:
            self._serve(route)

    @property
    def resource(self) -> KleinResource:
        """The resource that dispatches to the routes."""
        return self._klein.resource()

    @property
    def matcher(self) -> MapAdapter:
        """The routing table, bound to no host in particular."""
        return self._klein.url_map.bind("gateway")

    def _serve(self, route: Route) -> None:
        async def called(request: Request, **arguments: Any) -> None:
            assert request.content is not None  # Twisted opens it before it dispatches
            admitted = cast("Admitting", request).admitted
            call = Call(
                request=request,
                body=request.content.read(),
                caller=admitted.identity.name,
                arguments=arguments,
            )
            await answer(route.endpoint, call)

        self._klein.route(route.pattern, methods=[route.method], endpoint=route.name, strict_slashes=False)(
            called
        )
