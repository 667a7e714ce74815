"""Which provider a model name means: `provider/model`, or an alias that the settings give it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from openclaw_twisted.boundaries import Batches, ModelRequest, Provider
from openclaw_twisted.errors import AgentNotFoundError

__all__ = ["Catalog"]


class Catalog:
    """Every provider behind one: the first part of a model's name says who is asked."""

    def __init__(
        self, providers: Mapping[str, Provider], *, aliases: Mapping[str, str] | None = None
    ) -> None:
        self._providers = providers
        self._aliases = aliases or {}

    def check(self, model: str) -> None:
        """Raise `AgentNotFoundError` for a provider nobody configured, else what that provider knows."""
        provider, name = self._find(model)
        provider.check(name)

    def respond(self, request: ModelRequest) -> Batches:
        """Pass the request to its provider, under the provider's own name of the model."""
        provider, name = self._find(request.model)
        return provider.respond(msgspec.structs.replace(request, model=name))

    def full_name(self, model: str) -> str:
        """Return the name that an alias stands for, any other as it is."""
        return self._aliases.get(model, model)

    def provider_id(self, model: str) -> str:
        """Return the id of the provider that is asked for `model`, empty when there is none."""
        provider_id = self._aliases.get(model, model).partition("/")[0]
        return provider_id if provider_id in self._providers else ""

    def _find(self, model: str) -> tuple[Provider, str]:
        model = self._aliases.get(model, model)
        provider_id, slash, name = model.partition("/")
        if slash and name and provider_id in self._providers:
            return self._providers[provider_id], name
        known = ", ".join(sorted(self._providers)) or "none"
        raise AgentNotFoundError(
            f'No provider for model "{model[:100]}". Write it as "provider/model"; '
            f"providers are configured under models.providers, at present: {known}."
        )


_fits: type[Provider] = Catalog
