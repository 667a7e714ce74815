"""The models that run on this machine: one that chats and, where the settings ask for it, one that embeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

from twisted.internet.defer import Deferred, gatherResults

from openclaw_twisted.boundaries import Embedder, Provider
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import ModelsSettings
from openclaw_twisted.providers.embedded import LocalModel
from openclaw_twisted.providers.fetching import Fetching
from openclaw_twisted.providers.local import LOCAL, Local
from openclaw_twisted.providers.local_embeddings import LocalEmbeddings
from openclaw_twisted.providers.local_process import Engine, embedding_engine, llama_engine
from openclaw_twisted.providers.progress_bar import ProgressBar
from openclaw_twisted.providers.transport import way_out
from openclaw_twisted.providers.weight_sources import sources_of
from openclaw_twisted.providers.weights import Weights, WeightsStore

__all__ = ["LocalModels", "embedding_name"]


class LocalModels:
    """The local models, each in a process of its own; nothing is fetched or loaded before it is wanted."""

    def __init__(self, reactor: Any, loaded: Loaded, state_dir: Path, *, out: TextIO) -> None:
        """`out` is told how downloads go. Raises `ConfigError` for a model that we do not know."""
        models = loaded.settings.models
        self._reactor = reactor
        self._settings = models.local
        self._environ = loaded.environ
        sources = sources_of(reactor, loaded.environ, sys.executable, way_out(loaded.settings.proxy))
        self._store = WeightsStore(reactor, state_dir, sources=sources)
        self._out = out
        weights = self._store.resolve(self._settings)
        self.chat = self._model(weights, llama_engine(weights, self._settings, self._environ))
        self.provider: Provider = Local(reactor, self.chat, self._settings)
        self._models = [self.chat]
        self._embedders: dict[str, Embedder] = {}

    def embedder(self, name: str) -> Embedder:
        """Return an embedding model; raises `ConfigError` for one that we do not know."""
        if name not in self._embedders:
            self._embedders[name] = self._embedder(self._store.embedding(name))
        return self._embedders[name]

    async def stop(self) -> None:
        """Stop for good; returns when the processes and downloads are gone."""
        await gatherResults([Deferred.fromCoroutine(model.stop()) for model in self._models])

    def _embedder(self, weights: Weights) -> Embedder:
        assert weights.known is not None
        assert weights.known.embedding is not None
        model = self._model(weights, embedding_engine(weights, self._settings, self._environ))
        self._models.append(model)
        facts = weights.known.embedding
        return LocalEmbeddings(self._reactor, model, facts, max_queued=self._settings.max_queued)

    def _model(self, weights: Weights, engine: Engine) -> LocalModel:
        bar = ProgressBar(self._out)
        return LocalModel(
            self._reactor, Fetching(self._reactor, self._store, weights, may_fetch=True, bar=bar), engine
        )


def embedding_name(settings: ModelsSettings) -> str | None:
    """Return the local model that makes embeddings; None when another provider does, or nobody."""
    provider_id, _, name = (settings.embedding or "").partition("/")
    return name if provider_id == LOCAL and LOCAL not in settings.providers else None
