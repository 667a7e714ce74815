"""The remote providers that the settings define, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import Batches, Embedder, ModelRequest, Provider, Sampling, Taker
from openclaw_twisted.config.sampling import with_defaults
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import EMBEDDING_KEY, SPOKEN_APIS, ModelSettings, ProviderSettings
from openclaw_twisted.errors import ConfigError, NoProviderError, Problem
from openclaw_twisted.providers.access import Access, Credential, Outcome, origin_of
from openclaw_twisted.providers.answer import Timeouts
from openclaw_twisted.providers.capacity import Capacity
from openclaw_twisted.providers.compat import compat_of
from openclaw_twisted.providers.deadline import within
from openclaw_twisted.providers.http_agent import HttpAgent
from openclaw_twisted.providers.openai_completions import OpenAICompletions
from openclaw_twisted.providers.text_only import text_only
from openclaw_twisted.providers.transport import proxy_finder, trust_of
from openclaw_twisted.providers.upstream import Upstream, make_agent

__all__ = ["Configured", "timeouts_of"]

OPENAI, ANTHROPIC = SPOKEN_APIS
PATIENCE_SECONDS = 120.0

_Carrier = Literal["authorization", "x-api-key"] | None


class Configured:
    """The providers by id; each has a connection pool of its own, so that a slow one delays no other."""

    def __init__(
        self,
        reactor: Any,
        settings: Mapping[str, ProviderSettings],
        *,
        environ: Mapping[str, str] | None = None,
        proxy_url: Secret | None = None,
        observe: Callable[[str, Outcome], object] = lambda _provider_id, _outcome: None,
    ) -> None:
        """`observe` hears, with a provider's id, how each attempt at it went.

        `environ` may name proxies, `proxy_url` is the one for those who have none of their own.

        Raises `ConfigError` for certificates and proxies that cannot be used.
        """
        self._reactor = reactor
        self._environ = environ or {}
        self._proxy_url = proxy_url
        self._settings = settings
        self._observe = observe
        self._ways: dict[str, _Ways] = {}
        self._agents: list[HttpAgent] = []
        self.providers: dict[str, Provider] = {
            provider_id: self._provider(provider_id, given) for provider_id, given in settings.items()
        }

    def embedder(self, model: str) -> Embedder:
        """Return the embedding model `provider/model`; raises `ConfigError` if there is no such provider."""
        provider_id, _, name = model.partition("/")
        given = self._settings.get(provider_id)
        if given is None or given.base_url is None or not name:
            known = ", ".join(key for key, each in self._settings.items() if each.base_url) or "none"
            message = f'names no provider with a baseUrl; write "provider/model", known are: {known}.'
            raise ConfigError(EMBEDDING_KEY, (Problem(EMBEDDING_KEY, message),))
        from openclaw_twisted.providers.openai_embeddings import OpenAIEmbeddings  # few have embeddings

        return OpenAIEmbeddings(
            self._ways[provider_id].access(given.base_url),
            name=provider_id,
            base_url=given.base_url,
            headers=_headers(given, ModelSettings(id=name)),
            model=name,
        )

    def standing(self, provider_id: str, standing: str) -> int:
        """Return how many keys of a provider stand like that, each counted once for every model."""
        return self._ways[provider_id].standings().count(standing)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(agent.connections for agent in self._agents)

    def retire(self) -> None:
        """Close the connections that are idle now, and each other one when its answer has ended."""
        for agent in self._agents:
            agent.retire()

    async def close(self) -> None:
        """Close every connection."""
        for agent in self._agents:
            await agent.close()

    def _provider(self, provider_id: str, given: ProviderSettings) -> Provider:
        timeouts = timeouts_of(given)
        path = f"models.providers.{provider_id}.request"
        agent = make_agent(
            self._reactor,
            timeouts,
            policy=trust_of(given.request.tls, f"{path}.tls"),
            find_proxy=proxy_finder(
                given.request, self._environ, f"{path}.proxy", everything=self._proxy_url
            ),
        )
        self._agents.append(agent)
        upstream = Upstream(self._reactor, agent, name=provider_id, timeouts=timeouts)
        ways = self._ways[provider_id] = _Ways(
            self._reactor, upstream, provider_id, given, observe=partial(self._observe, provider_id)
        )
        return _Remote(
            self._reactor,
            provider_id,
            ways={model.id: ways.to(model) for model in given.models},
            otherwise=ways.to(ModelSettings(id="any other")),
            timeout_seconds=given.timeout_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How a model is asked: with which keys, through which API, and with what the request leaves open."""

    access: Access | None
    capacities: Sequence[Capacity]
    api: Provider
    params: Mapping[str, Any]
    max_tokens: int | None
    reasons: bool
    blind: str | None

    def completed(self, request: ModelRequest) -> ModelRequest:
        """Return what is asked for within the model's limits, the rest as its settings say.

        Raises `InvalidRequestError` with the words of `blind` for images that the model cannot be given.
        """
        sampling = self._sampling(request.sampling)
        if self.blind is not None:
            request = text_only(request, self.blind)
        return request if sampling is request.sampling else replace(request, sampling=sampling)

    def _sampling(self, asked: Sampling) -> Sampling:
        sampling = with_defaults(asked, self.params)
        effort = sampling.reasoning_effort or (sampling.thinking if self.reasons else None)
        limit = sampling.max_tokens
        if self.max_tokens is not None:
            limit = min(limit or self.max_tokens, self.max_tokens)
        if effort == sampling.reasoning_effort and limit == sampling.max_tokens:
            return sampling
        return replace(sampling, reasoning_effort=effort, max_tokens=limit)


class _Remote:
    """A provider's models: those that are listed each in their own way, any other in the provider's."""

    def __init__(
        self,
        clock: Any,
        provider_id: str,
        *,
        ways: Mapping[str, _Way],
        otherwise: _Way,
        timeout_seconds: float | None,
    ) -> None:
        self._clock = clock
        self._id = provider_id
        self._ways = ways
        self._otherwise = otherwise
        self._timeout_seconds = timeout_seconds

    def check(self, model: str) -> None:
        """Raise `NoProviderError` for a model that cannot be asked, `UpstreamError` while its keys rest."""
        way = self._ways.get(model, self._otherwise)
        way.api.check(model)
        if way.access is not None:
            way.access.check()
        for capacity in way.capacities:
            capacity.check()

    def respond(self, request: ModelRequest) -> Batches:
        """Ask the model in its way, when there is a place."""
        way = self._ways.get(request.model, self._otherwise)
        # A generator round the answer would cost each of its batches a step.
        return self._in_turn(way, request) if way.capacities else self._answer(way, request)

    async def _in_turn(self, way: _Way, request: ModelRequest) -> Batches:
        entered: list[Capacity] = []
        try:
            for capacity in way.capacities:
                await capacity.enter()
                entered.append(capacity)
            taker: Taker | None = None
            async with aclosing(self._answer(way, request)) as batches:
                while True:
                    taker = yield await batches.asend(taker)
        except StopAsyncIteration:
            return
        finally:
            for capacity in reversed(entered):
                capacity.leave()

    def _answer(self, way: _Way, request: ModelRequest) -> Batches:
        answer = way.api.respond(way.completed(request))
        if (seconds := self._timeout_seconds) is None:
            return answer
        words = (
            f"{self._id} took longer than {seconds:g} s for an answer. Try again, or allow it more in "
            f"models.providers.{self._id}.timeoutSeconds."
        )
        return within(answer, seconds, clock=self._clock, words=words)


class _Unavailable:
    """A model that cannot be asked; it says why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def check(self, model: str) -> None:
        """Raise `NoProviderError` that says why."""
        raise NoProviderError(self._why)

    async def respond(self, request: ModelRequest) -> Batches:
        """Raise `NoProviderError` that says why."""
        raise NoProviderError(self._why)
        yield ()  # makes this a generator, as the boundary asks


class _Ways:
    """The ways to one provider's models; its keys are the same on all that lead to one origin."""

    def __init__(
        self,
        clock: IReactorTime,
        upstream: Upstream,
        provider_id: str,
        given: ProviderSettings,
        *,
        observe: Callable[[Outcome], object],
    ) -> None:
        self._clock = clock
        self._upstream = upstream
        self._id = provider_id
        self._given = given
        self._observe = observe
        self._credentials: dict[tuple[str, _Carrier], list[Credential]] = {}
        self._accesses: list[Access] = []
        self._apart = Apart(clock)
        self._capacity = _capacity(given, provider_id, f"models.providers.{provider_id}")

    def standings(self) -> Sequence[str]:
        """Return how the keys stand, on each way."""
        return tuple(standing for access in self._accesses for standing in access.standings())

    def to(self, model: ModelSettings) -> _Way:
        """Return the way to a model."""
        given = self._given
        base_url, api = model.base_url or given.base_url, model.api or given.api
        access = self.access(base_url, api) if base_url is not None else None
        limit = _capacity(model, f'Model "{model.id}" of {self._id}', f"models.providers.{self._id}.models")
        return _Way(
            access=access,
            # the model's first: who waits for it must not hold a place that other models could use
            capacities=tuple(capacity for capacity in (limit, self._capacity) if capacity is not None),
            api=_api(access, api, self._id, given, model, apart=self._apart),
            params={**given.params, **model.params},
            max_tokens=model.max_tokens or given.max_tokens,
            reasons=model.reasoning,
            blind=_blind(self._id, model),
        )

    def access(self, base_url: str, api: str = OPENAI) -> Access:
        """Return a way to an address, with the keys that belong there, as its API wants them."""
        place = origin_of(base_url), _carrier(self._given, api)
        if place not in self._credentials:
            self._credentials[place] = [
                Credential(position, headers, seconds=self._clock.seconds)
                for position, headers in enumerate(_keys(self._given, place[1]), start=1)
            ]
        access = Access(
            self._upstream,
            self._credentials[place],
            name=self._id,
            base_url=base_url,
            clock=self._clock,
            observe=self._observe,
        )
        self._accesses.append(access)
        return access


def _capacity(given: ProviderSettings | ModelSettings, name: str, path: str) -> Capacity | None:
    if given.max_concurrent is None:
        return None
    return Capacity(given.max_concurrent, given.max_queued, name=name, key=f"{path}.maxQueued")


def _api(  # noqa: PLR0913 - what an API is asked with
    access: Access | None,
    api: str,
    provider_id: str,
    given: ProviderSettings,
    model: ModelSettings,
    *,
    apart: Apart,
) -> Provider:
    base_url = model.base_url or given.base_url
    if base_url is None or access is None:
        return _Unavailable(
            f"Provider {provider_id} has no address. Set models.providers.{provider_id}.baseUrl."
        )
    if api == ANTHROPIC:
        from openclaw_twisted.providers.anthropic_messages import AnthropicMessages  # for those who ask it

        return AnthropicMessages(
            access,
            name=provider_id,
            base_url=base_url,
            headers=_headers(given, model),
            settings=model,
            apart=apart,
        )
    if api != OPENAI:
        return _Unavailable(
            f'Provider {provider_id} speaks "{api}", which this gateway does not yet. '
            f'Use its OpenAI-compatible address, with models.providers.{provider_id}.api "{OPENAI}".'
        )
    return OpenAICompletions(
        access,
        name=provider_id,
        base_url=base_url,
        headers=_headers(given, model),
        compat=compat_of(model.compat, base_url),
        apart=apart,
    )


def timeouts_of(given: ProviderSettings) -> Timeouts:
    """Return the limits; whoever allows a whole answer more time means its silences too."""
    patience = given.timeout_seconds or PATIENCE_SECONDS
    return Timeouts(
        connect_seconds=given.connect_timeout_seconds,
        first_byte_seconds=given.first_byte_timeout_seconds or patience,
        idle_seconds=given.idle_timeout_seconds or patience,
    )


def _headers(given: ProviderSettings, model: ModelSettings) -> dict[str, str]:
    secrets = {**given.headers, **given.request.headers, **model.headers}
    return {name: value.reveal() for name, value in secrets.items()}


def _blind(provider_id: str, model: ModelSettings) -> str | None:
    if model.input is None or "image" in model.input:
        return None
    return (
        f"The model {provider_id}/{model.id} takes no images. Leave them out or ask another model; if it "
        f'does take them, add "image" to its `input` in models.providers.{provider_id}.models.'
    )


def _carrier(given: ProviderSettings, api: str) -> _Carrier:
    """Return the header that carries a key: what `authHeader` says, else what the API's own vendor wants."""
    if api == ANTHROPIC:
        return "authorization" if given.auth_header else "x-api-key"
    return None if given.auth_header is False else "authorization"


def _keys(given: ProviderSettings, carrier: _Carrier) -> list[dict[str, str]]:
    """Return the headers of each key; a provider without one, or that takes none like this, has none."""
    first = () if given.api_key is None else (given.api_key,)
    keys = [key.reveal() for key in dict.fromkeys((*first, *given.api_keys))]
    if not keys or carrier is None:
        return [{}]
    return [{carrier: f"Bearer {key}" if carrier == "authorization" else key} for key in keys]


_fit: tuple[type[Provider], ...] = (_Remote, _Unavailable)
