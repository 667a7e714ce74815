"""The models that run on this machine: one that chats and, where the settings ask for it, one that embeds.

Most gateways have them and never ask them, so what runs them is loaded when that happens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twisted.internet.defer import Deferred, gatherResults

from openclaw_twisted.boundaries import Batches, Embedder, ModelRequest, Provider
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import ModelsSettings
from openclaw_twisted.providers.known_models import LOCAL
from openclaw_twisted.providers.transport import way_out
from openclaw_twisted.providers.weights import Weights, WeightsStore

if TYPE_CHECKING:
    from openclaw_twisted.providers.embedded import LocalModel
    from openclaw_twisted.providers.local_process import Engine

__all__ = ["LocalModels", "embedding_name"]


class LocalModels:
    """The local models, each in a process of its own; nothing is fetched or loaded before it is wanted."""

    def __init__(self, reactor: Any, loaded: Loaded, state_dir: Path, *, out: TextIO) -> None:
        """`out` is told how downloads go. Raises `ConfigError` for a model that we do not know."""
        models = loaded.settings.models
        self._reactor = reactor
        self._settings = models.local
        self._environ = loaded.environ
        self._proxy_url = way_out(loaded.settings.proxy)
        self._state_dir = state_dir
        self._out = out
        self._weights = WeightsStore(reactor, state_dir, sources=()).resolve(self._settings)
        self.provider: Provider = _AtFirstUse(self._chatting)
        self._models: list[LocalModel] = []
        self._embedders: dict[str, Embedder] = {}

    @property
    def name(self) -> str:
        """What clients call the model that chats, after `local/`."""
        return self._weights.name

    @cached_property
    def chat(self) -> LocalModel:
        """The model that chats."""
        from openclaw_twisted.providers.local_process import llama_engine

        return self._model(self._weights, llama_engine(self._weights, self._settings, self._environ))

    @cached_property
    def _store(self) -> WeightsStore:
        from openclaw_twisted.providers.weight_sources import sources_of

        sources = sources_of(self._reactor, self._environ, sys.executable, self._proxy_url)
        return WeightsStore(self._reactor, self._state_dir, sources=sources)

    def embedder(self, name: str) -> Embedder:
        """Return an embedding model; raises `ConfigError` for one that we do not know."""
        if name not in self._embedders:
            self._embedders[name] = self._embedder(self._store.embedding(name))
        return self._embedders[name]

    async def stop(self) -> None:
        """Stop for good; returns when the processes and downloads are gone."""
        await gatherResults([Deferred.fromCoroutine(model.stop()) for model in self._models])

    def _chatting(self) -> Provider:
        from openclaw_twisted.providers.local import Local

        return Local(self._reactor, self.chat, self._settings)

    def _embedder(self, weights: Weights) -> Embedder:
        from openclaw_twisted.providers.local_embeddings import LocalEmbeddings
        from openclaw_twisted.providers.local_process import embedding_engine

        assert weights.known is not None
        assert weights.known.embedding is not None
        model = self._model(weights, embedding_engine(weights, self._settings, self._environ))
        facts = weights.known.embedding
        return LocalEmbeddings(self._reactor, model, facts, max_queued=self._settings.max_queued)

    def _model(self, weights: Weights, engine: Engine) -> LocalModel:
        from openclaw_twisted.providers.embedded import LocalModel
        from openclaw_twisted.providers.fetching import Fetching
        from openclaw_twisted.providers.progress_bar import ProgressBar

        bar = ProgressBar(self._out)
        fetching = Fetching(self._reactor, self._store, weights, may_fetch=True, bar=bar)
        model = LocalModel(self._reactor, fetching, engine)
        self._models.append(model)
        return model


class _AtFirstUse:
    """A provider that `make` loads and puts together when it is first asked."""

    def __init__(self, make: Callable[[], Provider]) -> None:
        self._made = cache(make)

    def check(self, model: str) -> None:
        """Raise what the provider raises."""
        self._made().check(model)

    def respond(self, request: ModelRequest) -> Batches:
        """Return the provider's answer."""
        return self._made().respond(request)


def embedding_name(settings: ModelsSettings) -> str | None:
    """Return the local model that makes embeddings; None when another provider does, or nobody."""
    provider_id, _, name = (settings.embedding or "").partition("/")
    return name if provider_id == LOCAL and LOCAL not in settings.providers else None


_fits: type[Provider] = _AtFirstUse
