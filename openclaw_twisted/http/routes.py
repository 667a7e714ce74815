"""The addresses this gateway serves, from its settings: the table behind `app.Application`."""

from __future__ import annotations

from dataclasses import dataclass

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.http.app import Route
from openclaw_twisted.http.endpoint import Endpoint, at_first_use
from openclaw_twisted.http.health import Health
from openclaw_twisted.http.home import Home
from openclaw_twisted.http.models import ModelList, OneModel
from openclaw_twisted.http.switches import CHAT_SWITCH, RESPONSES_SWITCH

__all__ = ["Endpoints", "routes"]


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """The endpoints that need more than settings."""

    chat: Endpoint
    responses: Endpoint
    embeddings: Endpoint
    metrics: Endpoint
    ready: Endpoint


def routes(settings: Settings, directory: Directory, endpoints: Endpoints) -> tuple[Route, ...]:
    """Return every route."""
    chat = settings.gateway.http.endpoints.chat_completions
    responses = settings.gateway.http.endpoints.responses
    chat_off, responses_off = _off(CHAT_SWITCH, chat.enabled), _off(RESPONSES_SWITCH, responses.enabled)
    models_off = chat_off if not responses.enabled else None
    health = Health()
    return (
        Route(
            name="POST /v1/chat/completions",
            endpoint=endpoints.chat,
            max_body_bytes=chat.max_body_bytes,
            disabled_because=chat_off,
        ),
        Route(
            name="POST /v1/responses",
            endpoint=endpoints.responses,
            max_body_bytes=responses.max_body_bytes,
            disabled_because=responses_off,
        ),
        Route(
            name="POST /v1/embeddings",
            endpoint=endpoints.embeddings,
            max_body_bytes=chat.max_body_bytes,
            disabled_because=chat_off,
        ),
        Route(name="GET /v1/models", endpoint=ModelList(directory), disabled_because=models_off),
        Route(name="GET /v1/models/{id}", endpoint=OneModel(directory, chat), disabled_because=models_off),
        Route(name="GET /health", endpoint=health),
        Route(name="GET /healthz", endpoint=health),
        Route(name="GET /ready", endpoint=endpoints.ready),
        Route(name="GET /readyz", endpoint=endpoints.ready),
        Route(name="GET /metrics", endpoint=endpoints.metrics, open_to_this_machine=settings.metrics.public),
        Route(name="GET /openapi.json", endpoint=at_first_use(_document)),
        Route(name="GET /", endpoint=Home(settings.gateway.http.endpoints)),
    )


def _document() -> Endpoint:
    from openclaw_twisted.http.openapi import Document

    return Document()


def _off(switch: str, enabled: bool) -> str | None:
    return None if enabled else f"This endpoint is off. Set {switch} to true to switch it on."
