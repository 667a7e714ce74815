"""The remote providers that the settings define, ready to be asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from twisted.internet.defer import DeferredList
from twisted.web.client import HTTPConnectionPool

from openclaw_twisted.boundaries import ModelRequest, Provider
from openclaw_twisted.config.settings import CompatSettings, ProviderSettings
from openclaw_twisted.errors import NoProviderError
from openclaw_twisted.events import ProviderEvent
from openclaw_twisted.providers.openai_completions import OpenAICompletions
from openclaw_twisted.providers.upstream import Timeouts, Upstream, make_agent

__all__ = ["Configured"]

API = "openai-completions"
_OPENAI_HOST = "api.openai.com"


class Configured:
    """The providers by id; each has a connection pool of its own, so that a slow one delays no other."""

    def __init__(self, reactor: Any, settings: Mapping[str, ProviderSettings]) -> None:
        self._reactor = reactor
        self._pools: list[HTTPConnectionPool] = []
        self.providers: dict[str, Provider] = {
            provider_id: self._provider(provider_id, given) for provider_id, given in settings.items()
        }

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await DeferredList([pool.closeCachedConnections() for pool in self._pools])

    def _provider(self, provider_id: str, given: ProviderSettings) -> Provider:
        if given.base_url is None or given.api != API:
            return _Unavailable(provider_id, given)
        timeouts = Timeouts(
            connect_seconds=given.connect_timeout_seconds,
            first_byte_seconds=given.first_byte_timeout_seconds,
            idle_seconds=given.idle_timeout_seconds,
        )
        compat = {model.id: _compat(model.compat, given.base_url) for model in given.models}
        otherwise = _compat(CompatSettings(), given.base_url)
        agent, pool = make_agent(self._reactor, timeouts)
        self._pools.append(pool)
        return OpenAICompletions(
            Upstream(self._reactor, agent, name=provider_id, timeouts=timeouts),
            name=provider_id,
            base_url=given.base_url,
            headers=_headers(given),
            compat=lambda model: compat.get(model, otherwise),
        )


class _Unavailable:
    """A provider that the settings name but that cannot be asked; it says why."""

    def __init__(self, provider_id: str, given: ProviderSettings) -> None:
        if given.base_url is None:
            self._why = f"Provider {provider_id} has no address. Set models.providers.{provider_id}.baseUrl."
        else:
            self._why = (
                f'Provider {provider_id} speaks "{given.api}", which this gateway does not yet. '
                f'Use its OpenAI-compatible address, with models.providers.{provider_id}.api "{API}".'
            )

    def check(self, model: str) -> None:
        """Raise `NoProviderError` that says why."""
        raise NoProviderError(self._why)

    async def respond(self, request: ModelRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        """Raise `NoProviderError` that says why."""
        raise NoProviderError(self._why)
        yield ()  # makes this a generator, as the boundary asks


def _headers(given: ProviderSettings) -> dict[str, str]:
    headers = {name: value.reveal() for name, value in given.headers.items()}
    headers |= {name: value.reveal() for name, value in given.request.headers.items()}
    if given.api_key is not None and given.auth_header:
        headers["authorization"] = f"Bearer {given.api_key.reveal()}"
    return headers


def _compat(compat: CompatSettings, base_url: str) -> CompatSettings:
    """Fill in what is known of OpenAI itself, whose newer models refuse `max_tokens`."""
    if compat.max_tokens_field is None and urlsplit(base_url).hostname == _OPENAI_HOST:
        return replace(compat, max_tokens_field="max_completion_tokens")
    return compat


_fits: type[Provider] = _Unavailable
