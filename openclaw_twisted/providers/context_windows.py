"""How many tokens the models that the settings list can take."""

from __future__ import annotations

from openclaw_twisted.config.settings import ModelsSettings

__all__ = ["UNKNOWN_TOKENS", "ContextWindows"]

UNKNOWN_TOKENS = 200_000
"""What a model is taken to have that the settings say nothing about, as OpenClaw does."""

_LOCAL = "local/"


class ContextWindows:
    """The context window of each model, by `provider/model`."""

    def __init__(self, settings: ModelsSettings) -> None:
        self._local = settings.local.context_tokens
        self._listed: dict[str, int] = {}
        for provider_id, provider in settings.providers.items():
            for model in provider.models:
                tokens = _smaller(model.context_window, model.context_tokens)
                if tokens is not None:
                    self._listed[f"{provider_id}/{model.id}"] = tokens

    def __call__(self, model: str) -> int:
        """Return how many tokens of context to use; a name without its provider is not looked for."""
        if model.startswith(_LOCAL):
            return self._local
        return self._listed.get(model, UNKNOWN_TOKENS)


def _smaller(window: int | None, used: int | None) -> int | None:
    given = [tokens for tokens in (window, used) if tokens is not None]
    return min(given, default=None)
