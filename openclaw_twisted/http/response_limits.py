"""What a request for a response may bring of images; apart from the endpoint, which is loaded when asked."""

from __future__ import annotations

from openclaw_twisted.config.settings import EndpointsSettings
from openclaw_twisted.http.parts import ContentLimits

__all__ = ["response_limits"]

IMAGES_KEY = "gateway.http.endpoints.responses.images"


def response_limits(settings: EndpointsSettings) -> ContentLimits:
    """Return what the settings allow a request to bring; how many images stands with the chat endpoint's."""
    return ContentLimits(
        settings.responses.images,
        max_images=settings.chat_completions.max_image_parts,
        max_total_bytes=settings.chat_completions.max_total_image_bytes,
        max_links=settings.responses.max_url_parts,
        key=IMAGES_KEY,
        param="input",
    )
