"""The addresses this gateway serves, from its settings: the table behind `app.Application`."""

from __future__ import annotations

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.settings import ChatCompletionsSettings
from openclaw_twisted.http.app import Route
from openclaw_twisted.http.endpoint import Endpoint
from openclaw_twisted.http.health import Health
from openclaw_twisted.http.home import Home
from openclaw_twisted.http.models import ModelList, OneModel

__all__ = ["CHAT_SWITCH", "routes"]

CHAT_SWITCH = "gateway.http.endpoints.chatCompletions.enabled"


def routes(
    settings: ChatCompletionsSettings, directory: Directory, *, chat: Endpoint, ready: Endpoint
) -> tuple[Route, ...]:
    """Return every route; `chat` and `ready` are the endpoints that need more than settings."""
    off = None if settings.enabled else f"This endpoint is off. Set {CHAT_SWITCH} to true to switch it on."
    health = Health()
    return (
        Route(
            name="POST /v1/chat/completions",
            endpoint=chat,
            max_body_bytes=settings.max_body_bytes,
            disabled_because=off,
        ),
        Route(name="GET /v1/models", endpoint=ModelList(directory), disabled_because=off),
        Route(name="GET /v1/models/{id}", endpoint=OneModel(directory, settings), disabled_because=off),
        Route(name="GET /health", endpoint=health),
        Route(name="GET /healthz", endpoint=health),
        Route(name="GET /ready", endpoint=ready),
        Route(name="GET /readyz", endpoint=ready),
        Route(name="GET /", endpoint=Home(settings.enabled)),
    )
