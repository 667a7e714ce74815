"""Who gets in, decided from the head of a request, before a byte of its body is read.

The order of checks is part of the contract: Host, path, method, origin, caller, scope, size, type. A
caller is authorised by the route that was matched, never by the text of the path, and a route without a
scope is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from twisted.web.http_headers import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import MapAdapter

from openclaw_twisted.auth.addresses import ClientAddress, client_address, parse_authority
from openclaw_twisted.auth.credentials import from_headers
from openclaw_twisted.auth.doorkeeping import Doorkeeping
from openclaw_twisted.auth.gate import Identity
from openclaw_twisted.auth.scopes import Scope, authorise, needed
from openclaw_twisted.errors import (
    GatewayError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from openclaw_twisted.http.app import Route

__all__ = ["Admission", "Admitted", "Head"]

# Bodies that no endpoint reads are thrown away up to this size; above it the connection is closed.
MAX_DISCARDED_BYTES = 64 * 1024

# Encoded dots, backslashes and NULs: forms that two readers of one path could read differently, as they
# could doubled slashes, and encoded ones outside model ids.
_AMBIGUOUS = re.compile(rb"%5c|\\|%00|%2e|/\.\.?(?:/|$)|%(?![0-9a-f]{2})", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/]*)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
PREFLIGHT_SECONDS = 600
# Paths without arguments are matched once; they are few, but for those that only differ in their encoding.
REMEMBERED_PATHS = 256
_EXPOSED = b"x-request-id, x-openclaw-run-id, x-openclaw-session-key, x-openclaw-model-used, retry-after"
_JSON = b"application/json"
_SAFE_METHODS = (b"GET", b"HEAD")
_MODEL_PATH = b"/v1/models/"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request's head as it came off the wire; `length` is None when the body is chunked."""

    method: bytes
    path: bytes
    version: bytes
    headers: Headers
    peer: str
    length: int | None
    tls: bool = False


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may have its body read: the route, and who asks."""

    route: Route
    identity: Identity
    client: ClientAddress
    max_body_bytes: int
    arguments: Mapping[str, str] = {}


class Admission:
    """The checks of the HTTP door."""

    def __init__(self, rules: Doorkeeping, matcher: MapAdapter, routes: Mapping[str, Route]) -> None:
        self._rules = rules
        self._matcher = matcher
        self._routes = routes
        self._plain_paths: dict[tuple[bytes, bytes], Route] = {}

    def admit(self, head: Head) -> Admitted:
        """Return who asks for what, or raise the `GatewayError` that says why not."""
        rules = self._rules
        authority = rules.hosts.check(head.headers, required=head.version != b"HTTP/1.0")
        route, arguments = self._match(head)
        if head.method not in _SAFE_METHODS:
            # Before the secret is looked at: a foreign page must not learn whether it guessed right.
            rules.origins.check(head.headers, authority, tls=head.tls)
        client = client_address(head.peer, head.headers, rules.proxies)
        if needed(route.name) is None:
            identity = Identity("anyone", frozenset())
        elif route.open_to_this_machine and client.local:
            identity = Identity("local", frozenset({Scope.READ}))
            authorise(identity.scopes, route.name)
        else:
            identity = rules.gate.check(from_headers(head.headers), client)
            authorise(identity.scopes, route.name)
        self._check_body(head, route)
        return Admitted(
            route=route,
            identity=identity,
            client=client,
            max_body_bytes=route.max_body_bytes or MAX_DISCARDED_BYTES,
            arguments=arguments,
        )

    def route_name(self, head: Head) -> str | None:
        """Return the name of the route that a request is for, admitted or not; None when there is none."""
        try:
            return self._match(head)[0].name
        except GatewayError:
            return None

    def cross_origin(self, headers: Headers) -> Mapping[bytes, bytes]:
        """Return the CORS headers of an answer, whatever it is: none unless the origin is listed."""
        origin = self._rules.origins.listed(headers)
        if origin is None:
            return {}
        return {
            b"access-control-allow-origin": origin.encode("latin-1"),
            b"access-control-expose-headers": _EXPOSED,
            b"vary": b"Origin",
        }

    def preflight(self, head: Head) -> Mapping[str, str] | None:
        """Return the headers that let a page of a listed origin send what it asks about; else None.

        Raises what `admit` raises for a wrong host, path or method.
        """
        if head.method != b"OPTIONS":
            return None
        wanted = head.headers.getRawHeaders(b"access-control-request-method")
        if not wanted or self._rules.origins.listed(head.headers) is None:
            return None
        self._rules.hosts.check(head.headers, required=head.version != b"HTTP/1.0")
        route, _ = self._match(msgspec.structs.replace(head, method=wanted[-1]))
        asked = head.headers.getRawHeaders(b"access-control-request-headers") or [b""]
        return {
            "access-control-allow-methods": route.method,
            "access-control-allow-headers": asked[-1].decode("latin-1"),
            "access-control-max-age": str(PREFLIGHT_SECONDS),
        }

    def _match(self, head: Head) -> tuple[Route, Mapping[str, str]]:
        path = head.path.partition(b"?")[0]
        known = self._plain_paths.get((head.method, path))
        if known is not None:
            return known, {}
        route, arguments = self._match_anew(head, path)
        if not arguments and path.startswith(b"/") and len(self._plain_paths) < REMEMBERED_PATHS:
            self._plain_paths[head.method, path] = route
        return route, arguments

    def _match_anew(self, head: Head, path: bytes) -> tuple[Route, Mapping[str, str]]:
        if not path.startswith(b"/"):
            path = _without_host(path, head.headers)
        in_model_id = path.startswith(_MODEL_PATH)
        if b"//" in path:
            raise InvalidRequestError(
                "The path has two slashes in a row. Write the base URL of your client without one at its end."
            )
        if _AMBIGUOUS.search(path) or (b"%2f" in path.lower() and not in_model_id):
            raise InvalidRequestError("The path has an ambiguous form. Send it plain.")
        try:
            text = _unquote(path)
        except UnicodeDecodeError:
            raise InvalidRequestError("The path is not valid UTF-8.") from None
        try:
            name, arguments = self._matcher.match(text, method=head.method.decode("latin-1"))
        except MethodNotAllowed as error:
            allowed = tuple(sorted(error.valid_methods or ()))
            raise MethodNotAllowedError(
                f"This address takes {' and '.join(allowed)} only.", allowed=allowed
            ) from None
        except HTTPException as error:
            assert error.code == HTTPStatus.NOT_FOUND  # no route of ours redirects
            raise NotFoundError(
                "There is nothing at this address. The base URL of OpenAI's clients ends in /v1 here, "
                "without a slash or an endpoint behind it."
            ) from None
        route = self._routes[name]
        if route.disabled_because is not None:
            raise NotFoundError(route.disabled_because)
        return route, arguments

    def _check_body(self, head: Head, route: Route) -> None:
        if not route.max_body_bytes:
            return
        if head.length is not None and head.length > route.max_body_bytes:
            raise TooLargeError(f"The request body exceeds {route.max_body_bytes} bytes.")
        types = head.headers.getRawHeaders(b"content-type") or [b""]
        if types[-1] != _JSON and types[-1].partition(b";")[0].strip().lower() != _JSON:
            raise UnsupportedMediaTypeError("Send the body as Content-Type: application/json.")
        encoding = head.headers.getRawHeaders(b"content-encoding")
        if encoding and encoding[-1].strip().lower() != b"identity":
            raise UnsupportedMediaTypeError("Send the body without Content-Encoding.")


def _without_host(target: bytes, headers: Headers) -> bytes:
    """Return the path of a target in the form that proxies are asked in, which servers have to take as well.

    Raises `InvalidRequestError` when it names another host than the Host header, by which we judge.
    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    named = parse_authority(found["authority"].decode("latin-1"))
    hosts = [parse_authority(host.decode("latin-1")) for host in headers.getRawHeaders(b"host") or ()]
    if named is None or hosts != [named]:
        raise InvalidRequestError("The request's target names another host than its Host header.")
    return found["path"] or b"/"


def _unquote(path: bytes) -> str:
    pieces = path.split(b"%")
    decoded = pieces[0] + b"".join(bytes.fromhex(piece[:2].decode()) + piece[2:] for piece in pieces[1:])
    return decoded.decode("utf-8")
