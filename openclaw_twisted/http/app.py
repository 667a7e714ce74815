"""The Klein routes, and nothing else: one table that routing, admission and the method check share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from werkzeug.routing import MapAdapter

from openclaw_twisted.auth.gate import Identity
from openclaw_twisted.http.endpoint import Call, Endpoint, answer

__all__ = ["Application", "Route"]

_log = Logger()


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
    """What a call takes from admission: who asks, and for what."""

    @property
    def identity(self) -> Identity:
        """The caller."""
        ...

    @property
    def route(self) -> Route:
        """The route that was matched."""
        ...

    @property
    def arguments(self) -> Mapping[str, str]:
        """What stands in the path where the route's pattern leaves it open."""
        ...


class Admitting(Protocol):
    """A request that has been through admission."""

    admitted: Known


class Application:
    """The routes as a resource to serve and as a matcher to ask."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes: Mapping[str, Route] = {route.name: route for route in routes}
        self._klein = Klein()
        self._klein.url_map.merge_slashes = False  # that is done by redirecting
        for route in routes:
            self._serve(route)

    @property
    def resource(self) -> IResource:
        """The resource that answers admitted requests."""
        return _Endpoints(self._klein)

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
                scopes=admitted.identity.scopes,
                arguments=arguments,
            )
            await answer(route.endpoint, call)

        self._klein.route(route.pattern, methods=[route.method], endpoint=route.name, strict_slashes=False)(
            called
        )


class _Endpoints(Resource):
    """Has Klein call the endpoint of the route that admission has matched.

    Klein's own resource would match the path once more, and look for something to render in what our
    endpoints return, which is nothing: together that takes longer than everything else before the endpoint.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, klein: Klein) -> None:
        super().__init__()
        self._klein = klein

    def render(self, request: Request) -> Any:
        """Begin to answer; a client that hangs up cancels its endpoint."""
        admitted = cast("Admitting", request).admitted
        work: Any = self._klein.execute_endpoint(admitted.route.name, request, **admitted.arguments)
        # An endpoint that wants to hear of the end has asked by now, and hears of it first.
        end = request.notifyFinish()
        work.addBoth(_answered, request, end)
        end.addErrback(lambda _reason: work.cancel())
        return NOT_DONE_YET


def _answered(result: Failure | None, request: Request, end: Deferred[None]) -> None:
    """Finish an answer, if somebody is there to have it."""
    if not isinstance(result, Failure):
        if not end.called:
            request.finish()
    elif not end.called:
        request.processingFailed(result)
    elif not result.check(CancelledError):
        _log.failure("defect in {path} after its client had gone", failure=result, path=request.path)
