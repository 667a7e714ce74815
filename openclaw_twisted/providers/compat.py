"""Where upstreams that speak like OpenAI differ from it, as far as their addresses tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from openclaw_twisted.config.settings import CompatSettings

__all__ = ["compat_of"]

_KNOWN: Mapping[str, Mapping[str, Any]] = {
    # the newer models refuse `max_tokens`
    "api.openai.com": {"max_tokens_field": "max_completion_tokens"},
    # refuses fields it does not know, and tells its counts unasked
    "api.mistral.ai": {"requires_mistral_tool_ids": True, "supports_usage_in_streaming": False},
    "api.deepseek.com": {"requires_reasoning_content_on_assistant_messages": True},
    "generativelanguage.googleapis.com": {"requires_thought_signatures": True},
}


def compat_of(compat: CompatSettings, base_url: str) -> CompatSettings:
    """Fill in what is known of the address, where the settings do not say."""
    known = _KNOWN.get(urlsplit(base_url).hostname or "", {})
    unsaid = {name: value for name, value in known.items() if getattr(compat, name) is None}
    return replace(compat, **unsaid) if unsaid else compat
