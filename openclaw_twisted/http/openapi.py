"""GET /openapi.json: the HTTP API as an OpenAPI 3.1 document, made from the structs that parse and answer.

The document is the same whatever the settings are: it lists endpoints that are switched off too, and says
which setting switches them on. https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import inspect

from openclaw_twisted import __version__, errors
from openclaw_twisted.auth.scopes import needed
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.http.endpoint import Call, ErrorAnswer, Reply, status_of_kind
from openclaw_twisted.http.operations import OPERATIONS, Header, Operation

__all__ = ["Document", "document"]

_ABOUT = """\
OpenAI clients talk to the gateway's agents: a model name is an agent, a request becomes a run of it.
Fields that are not listed are ignored, and `null` means absent."""

_BEARER = """\
The gateway's token or password, as `gateway.auth` says. `openclaw-gateway token show` prints it. With
`gateway.auth.mode` "none" or "trusted-proxy" none is needed."""

_EVENT = """\
One event of the stream, as OpenAPI 3.2 describes them too: its `data` is JSON, a piece of the answer or, when
it fails on the way, an error. The last event's is `[DONE]`. Comments (`: keep-alive`) break long silences."""

_EVERY_ROUTE = (
    errors.InvalidRequestError,
    errors.MethodNotAllowedError,
    errors.RequestTimeoutError,
    errors.MisdirectedError,
    errors.HeadersTooLargeError,
    errors.InternalError,
)
_GUARDED = (errors.UnauthorizedError, errors.ForbiddenError, errors.RateLimitedError)
_WITH_BODY = (errors.ForbiddenError, errors.TooLargeError, errors.UnsupportedMediaTypeError)

_REQUEST_ID = Header(
    name="x-request-id",
    description="Names the request: its own id, if that is up to 128 letters, digits, `.`, `_`, `:`, `-`.",
    always=True,
)
_EVERY_ANSWER = (
    _REQUEST_ID,
    Header(name="x-content-type-options", description="`nosniff`", always=True),
    Header(name="referrer-policy", description="`no-referrer`", always=True),
    Header(
        name="strict-transport-security",
        description="What `gateway.http.securityHeaders.strictTransportSecurity` says.",
    ),
)
_RETRY_AFTER = Header(name="retry-after", description="Seconds to wait, at most 120.", always=True)
_BY_STATUS: Mapping[int, Header] = {
    HTTPStatus.UNAUTHORIZED: Header(name="www-authenticate", description="`Bearer`", always=True),
    HTTPStatus.METHOD_NOT_ALLOWED: Header(name="allow", description="The methods there are.", always=True),
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}
_SHARED_HEADERS = (*_EVERY_ANSWER, *{header.name: header for header in _BY_STATUS.values()}.values())

_REFERENCE = "#/components/schemas/{name}"


class Document:
    """Shows the document."""

    async def __call__(self, call: Call) -> Reply:
        """Answer with it."""
        return Reply(body=_encoded(), content_type="application/json")


@functools.cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """Return the OpenAPI document, as JSON's own types."""
    operations = tuple(OPERATIONS.values())
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "OpenClaw Gateway",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"secret": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": {header.name: _header(header) for header in _SHARED_HEADERS},
            "securitySchemes": {"secret": {"type": "http", "scheme": "bearer", "description": _BEARER}},
        },
    }


class _Schemas:
    """The schemas of all types that operations name: by type, and those that have names."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        operations = tuple(operations)
        read = tuple(operation.reads for operation in operations if operation.reads is not None)
        written = tuple(_written(operations))
        types = (*read, *written)
        given, self.components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
        self._by_type = list(zip(types, given, strict=True))
        requests = {struct.cls for struct in _structs(inspect.multi_type_info(read))}
        answers = {struct.cls: struct for struct in _structs(inspect.multi_type_info(written))}
        for struct in answers.values():
            if struct.cls not in requests:
                self._require(struct)

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type that an operation names."""
        return next(dict(schema) for named, schema in self._by_type if named == kind)

    def _require(self, struct: inspect.StructType) -> None:
        """Say that an answer has all fields but those that may be unset, its defaults included."""
        if struct.cls.__struct_config__.omit_defaults:
            return
        name = struct.cls.__name__
        if name not in self.components:  # there are several of this name
            name = f"{struct.cls.__module__}.{name}"
        self.components[name]["required"] = [
            field.encode_name
            for field in msgspec.structs.fields(struct.cls)
            if field.default is not msgspec.UNSET
        ]


def _written(operations: Iterable[Operation]) -> Iterator[Any]:
    yield ErrorAnswer
    for operation in operations:
        yield from operation.answers.values()
        yield from operation.events
        yield from operation.otherwise.values()


def _structs(types: Iterable[Any]) -> Iterator[inspect.StructType]:
    """Yield the structs in a tree of types, some more than once."""
    for kind in types:
        if isinstance(kind, inspect.StructType):
            yield kind
            yield from _structs(field.type for field in kind.fields)
        elif isinstance(kind, inspect.Type):
            yield from _structs(msgspec.structs.astuple(kind))
        elif isinstance(kind, tuple):
            yield from _structs(kind)


def _described(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "description": _description(operation),
        "parameters": [*_path_parameters(operation), *map(_parameter, (*operation.takes, _REQUEST_ID))],
        "responses": _responses(operation, schemas),
    }
    if operation.secret_is_optional:
        told["security"] = [{}, {"secret": []}]
    elif needed(operation.name) is None:
        told["security"] = []
    if operation.reads is not None:
        body = {"schema": schemas.of(operation.reads), "example": operation.example}
        told["requestBody"] = {"required": True, "content": {"application/json": body}}
    return told


def _operation_id(operation: Operation) -> str:
    words = operation.path.removesuffix(".json").replace("{id}", "one").split("/")
    return "_".join([operation.method.lower(), *(word for word in words if word)])


def _description(operation: Operation) -> str:
    said = [operation.description]
    if operation.switches:
        switches = " or ".join(f"`{switch}`" for switch in operation.switches)
        said.append(f"Off, and answered with 404, until {switches} is true.")
    scope = needed(operation.name)
    if scope is not None:
        said.append(f"Needs the scope `{scope.value}`.")
    return " ".join(filter(None, said))


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{id}" not in operation.path:
        return []
    return [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "description": "The rest of the path; slashes in it may be encoded or not.",
            "schema": {"type": "string", "minLength": 1},
        }
    ]


def _parameter(header: Header) -> dict[str, Any]:
    schema = _header(header)
    return {"name": header.name, "in": "header", **schema, "required": False}


def _header(header: Header) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if header.max_length is not None:
        schema["maxLength"] = header.max_length
    if header.pattern is not None:
        schema["pattern"] = header.pattern
    return {"description": header.description, "required": header.always, "schema": schema}


def _responses(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    content = {media: {"schema": schemas.of(kind)} for media, kind in operation.answers.items()}
    if operation.events:
        content["text/event-stream"] = {"schema": _event([schemas.of(kind) for kind in operation.events])}
    told = {200: _response("The answer.", content, _EVERY_ANSWER, operation.gives)}
    for status, reasons in sorted(_failures(operation).items()):
        told[status] = _error(status, reasons, schemas.of(operation.otherwise.get(status, ErrorAnswer)))
    for status in operation.otherwise.keys() - told.keys():
        told[status] = _error(status, (), schemas.of(operation.otherwise[status]))
    return {str(status): response for status, response in told.items()}


def _event(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of a stream's events whose data is one of `pieces`."""
    piece = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": pieces}}
    return {
        "type": "object",
        "description": _EVENT,
        "properties": {"data": {"anyOf": [{"enum": ["[DONE]"]}, piece]}, "event": {"type": "string"}},
        "required": ["data"],
    }


def _error(status: int, kinds: Iterable[type[GatewayError]], schema: dict[str, Any]) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    reasons = [f"`{kind.code or kind.kind}`: {_first_line(kind)}" for kind in kinds]
    header = _BY_STATUS.get(status)
    return _response(
        "\n\n".join([f"{phrase}.", *reasons]),
        {"application/json": {"schema": schema}},
        (*_EVERY_ANSWER, header) if header else _EVERY_ANSWER,
    )


def _response(
    description: str, content: dict[str, Any], shared: Iterable[Header], own: Iterable[Header] = ()
) -> dict[str, Any]:
    headers = {header.name: {"$ref": f"#/components/headers/{header.name}"} for header in shared}
    headers |= {header.name: _header(header) for header in own}
    return {"description": description, "headers": headers, "content": content}


def _failures(operation: Operation) -> dict[int, list[type[GatewayError]]]:
    """Return the errors that a route answers with, by status."""
    kinds: list[type[GatewayError]] = [*_EVERY_ROUTE, *operation.fails]
    if needed(operation.name) is not None:
        kinds += _GUARDED
    if operation.reads is not None:
        kinds += _WITH_BODY
    if operation.switches:
        kinds.append(errors.NotFoundError)
    found: dict[int, list[type[GatewayError]]] = {}
    for kind in tuple(dict.fromkeys(kinds)):
        found.setdefault(status_of_kind(kind), []).append(kind)
        if kind is errors.UpstreamRejectedError:  # the one that has another status at times
            found.setdefault(HTTPStatus.NOT_FOUND, []).append(kind)
    return found


def _first_line(kind: type[GatewayError]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]
