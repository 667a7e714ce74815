"""The one table that says which scope an HTTP route or a WebSocket method needs.

Scopes come from the credential, never from the client. `admin` implies every other scope, `write` implies
`read`. A name that is not in the table is nobody's: adding a route or method without a line here makes it
answer 403, and a test that counts both finds it. HTTP routes are named as they are matched
(`GET /v1/models/{id}`), never by the path of a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from enum import StrEnum

from openclaw_twisted.errors import ForbiddenError

__all__ = ["ALL", "MODEL_OVERRIDE", "NEEDED", "Scope", "allows", "authorise", "grant", "needed"]


class Scope(StrEnum):
    """What a caller may do; the values are OpenClaw's names."""

    READ = "operator.read"
    WRITE = "operator.write"
    ADMIN = "operator.admin"
    APPROVALS = "operator.approvals"
    PAIRING = "operator.pairing"
    QUESTIONS = "operator.questions"


ALL: frozenset[str] = frozenset(Scope)
"""What the holder of the shared secret has."""

MODEL_OVERRIDE = Scope.ADMIN
"""What choosing a model and the messages `/reset` and `/new` need, beside what the method or route needs."""

_PUBLIC = ("health", "GET /", "GET /health", "GET /healthz", "GET /ready", "GET /readyz")

_READ = (
    "agent.identity.get",
    "agents.list",
    "channels.status",
    "chat.history",
    "chat.metadata",
    "chat.startup",
    "commands.list",
    "config.get",
    "cron.list",
    "last-heartbeat",
    "logs.tail",
    "models.list",
    "runs.list",
    "sessions.describe",
    "sessions.get",
    "sessions.list",
    "sessions.messages.subscribe",
    "sessions.messages.unsubscribe",
    "sessions.preview",
    "sessions.resolve",
    "sessions.subscribe",
    "sessions.unsubscribe",
    "skills.status",
    "status",
    "system-presence",
    "taskSuggestions.list",
    "tools.catalog",
    "GET /metrics",
    "GET /openapi.json",
    "GET /v1/models",
    "GET /v1/models/{id}",
)

_WRITE = (
    "agent",
    "agent.wait",
    "chat.abort",
    "chat.send",
    "send",
    "sessions.abort",
    "sessions.create",
    "sessions.patch",
    "sessions.send",
    "wake",
    "POST /v1/chat/completions",
    "POST /v1/embeddings",
    "POST /v1/responses",
)

_ADMIN = (
    "chat.inject",
    "config.apply",
    "config.patch",
    "config.set",
    "sessions.compact",
    "sessions.delete",
    "sessions.reset",
)

NEEDED: dict[str, Scope | None] = {
    **dict.fromkeys(_PUBLIC, None),
    **dict.fromkeys(_READ, Scope.READ),
    **dict.fromkeys(_WRITE, Scope.WRITE),
    **dict.fromkeys(_ADMIN, Scope.ADMIN),
}
"""Route or method -> scope; None means that anybody may."""

_FAMILIES = (
    ("exec.approval.", Scope.APPROVALS),
    ("plugin.approval.", Scope.APPROVALS),
    ("device.pair.", Scope.PAIRING),
    ("node.pair.", Scope.PAIRING),
    ("question.", Scope.QUESTIONS),
)


def needed(name: str) -> Scope | None:
    """Return the scope that a route or method needs, None when anybody may use it.

    Raises `ForbiddenError` for a name that is not in the table.
    """
    try:
        return NEEDED[name]
    except KeyError:
        for prefix, scope in _FAMILIES:
            if name.startswith(prefix):
                return scope
    raise ForbiddenError("Nobody may use this: it has no scope.")


def allows(scopes: AbstractSet[str], scope: str | None) -> bool:
    """Tell whether somebody who has `scopes` may do what needs `scope`."""
    if scope is None or scope in scopes or Scope.ADMIN in scopes:
        return True
    return scope == Scope.READ and Scope.WRITE in scopes


def authorise(scopes: AbstractSet[str], name: str) -> None:
    """Raise `ForbiddenError` unless `scopes` suffice for the route or method `name`."""
    scope = needed(name)
    if not allows(scopes, scope):
        raise ForbiddenError(f"missing scope: {scope}")


def grant(held: AbstractSet[str], requested: Iterable[str]) -> frozenset[str]:
    """Return those of the requested scopes that a caller who holds `held` gets: never more than it holds."""
    return frozenset(scope for scope in requested if scope in ALL and allows(held, scope))
