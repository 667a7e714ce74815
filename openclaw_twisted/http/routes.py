"""The addresses this gateway serves, from its settings: the table behind `app.Application`."""

from __future__ import annotations

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.http.app import Route
from openclaw_twisted.http.endpoint import Endpoint
from openclaw_twisted.http.health import Health
from openclaw_twisted.http.home import Home
from openclaw_twisted.http.models import ModelList, OneModel

__all__ = ["CHAT_SWITCH", "routes"]

CHAT_SWITCH = "gateway.http.endpoints.chatCompletions.enabled"


def routes(
    settings: Settings, directory: Directory, *, chat: Endpoint, ready: Endpoint, metrics: Endpoint
) -> tuple[Route, ...]:
    """Return every route; `chat`, `ready` and `metrics` are the endpoints that need more than settings."""
    options = settings.gateway.http.endpoints.chat_completions
    off = None if options.enabled else f"This endpoint is off. Set {CHAT_SWITCH} to true to switch it on."
    health = Health()
    return (
        Route(
            name="POST /v1/chat/completions",
            endpoint=chat,
            max_body_bytes=options.max_body_bytes,
            disabled_because=off,
        ),
        Route(name="GET /v1/models", endpoint=ModelList(directory), disabled_because=off),
        Route(name="GET /v1/models/{id}", endpoint=OneModel(directory, options), disabled_because=off),
        Route(name="GET /health", endpoint=health),
        Route(name="GET /healthz", endpoint=health),
        Route(name="GET /ready", endpoint=ready),
        Route(name="GET /readyz", endpoint=ready),
        Route(name="GET /metrics", endpoint=metrics, open_to_this_machine=settings.metrics.public),
        Route(name="GET /", endpoint=Home(options.enabled)),
    )
