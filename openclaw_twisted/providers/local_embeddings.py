"""The embedding model that runs on this machine: wait for its process, then ask it text by text, in batches.

llama.cpp does not notice when somebody hangs up on it. So many texts are sent in several requests, which also
lets short questions in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from openclaw_twisted.boundaries import Embedded, Embedder
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import ContextLengthError, InvalidRequestError, UpstreamError
from openclaw_twisted.providers.capacity import Capacity
from openclaw_twisted.providers.embedded import LocalEndpoint
from openclaw_twisted.providers.known_models import Embedding
from openclaw_twisted.providers.local import TIMEOUTS, Served
from openclaw_twisted.providers.openai_embeddings import OpenAIEmbeddings
from openclaw_twisted.providers.upstream import Address, Upstream, make_agent

__all__ = ["LocalEmbeddings"]

NAME = "The local embedding model"
BATCH_TEXTS = 32
MAX_CONCURRENT = 8
# The beginning of a text tells that it is too long; cutting megabytes into tokens takes the engine seconds.
COUNTED_CHARACTERS = 20_000
MAX_BODY_BYTES = 1024 * 1024


class _Tokens(msgspec.Struct):
    tokens: list[int]


class LocalEmbeddings:
    """Embeds with a model on this machine, whose vectors `facts` describe."""

    def __init__(self, reactor: Any, model: Served, facts: Embedding, *, max_queued: int) -> None:
        self._model = model
        self._facts = facts
        self._capacity = Capacity(
            MAX_CONCURRENT, max_queued, name=NAME, key="models.providers.local.maxQueued"
        )
        # As with the local model that chats: the server closes each connection after its answer.
        agent = make_agent(reactor, TIMEOUTS, persistent=False)
        self._upstream = Upstream(reactor, agent, name=NAME, timeouts=TIMEOUTS)

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], dimensions: int | None
    ) -> Embedded:
        """Return the vectors in the order of the texts, loading the model if need be.

        Raises `InvalidRequestError` for tokens and for other dimensions than the model's,
        `ContextLengthError` for a text that is too long, and what keeps the model from answering.
        """
        texts = self._texts(inputs, dimensions)
        self._model.check()
        await self._capacity.enter()
        try:
            endpoint = await self._model.endpoint()
            batches = [
                await self._embed(endpoint, texts[start : start + BATCH_TEXTS], start)
                for start in range(0, len(texts), BATCH_TEXTS)
            ]
        finally:
            self._capacity.leave()
        counted = sum(batch.usage.prompt_tokens for batch in batches if batch.usage is not None)
        return Embedded(
            vectors=tuple(vector for batch in batches for vector in batch.vectors),
            usage=Usage(prompt_tokens=counted, total_tokens=counted),
        )

    def _texts(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], dimensions: int | None
    ) -> Sequence[str]:
        own = self._facts.dimensions
        if dimensions not in {None, own}:
            message = f"{self._model.name} makes vectors of {own} numbers. Leave `dimensions` out."
            raise InvalidRequestError(message, param="dimensions")
        texts = [text for text in inputs if isinstance(text, str)]
        if len(texts) < len(inputs):
            message = f"{self._model.name} takes texts: the tokens of other models mean nothing to it."
            raise InvalidRequestError(message, param="input")
        return texts

    async def _embed(self, endpoint: LocalEndpoint, texts: Sequence[str], first: int) -> Embedded:
        server = OpenAIEmbeddings(
            self._upstream,
            name=NAME,
            base_url=endpoint.base_url,
            headers=_headers(endpoint),
            model=endpoint.model,
        )
        numbered = list(enumerate(texts, first))
        await self._check_lengths(endpoint, (each for each in numbered if len(each[1]) > COUNTED_CHARACTERS))
        try:
            return await server.embed(texts, None)
        except UpstreamError:
            # The engine calls a text that is too long a failure of its own.
            await self._check_lengths(endpoint, numbered)
            raise

    async def _check_lengths(self, endpoint: LocalEndpoint, numbered: Iterable[tuple[int, str]]) -> None:
        limit = self._facts.max_tokens
        for position, text in numbered:
            if await self._count(endpoint, text[:COUNTED_CHARACTERS]) > limit:
                raise ContextLengthError(
                    f"Input {position} is longer than {limit} tokens, the limit of {self._model.name}: "
                    f"split it ({ContextLengthError.code})."
                )

    async def _count(self, endpoint: LocalEndpoint, text: str) -> int:
        url = f"{endpoint.base_url.removesuffix('/v1')}/tokenize"
        asked = msgspec.json.encode({"content": text, "add_special": True})
        answer = await self._upstream.post(Address(url, _headers(endpoint)), asked)
        try:
            body = await answer.read_at_most(MAX_BODY_BYTES)
        finally:
            answer.body.close()
        if answer.status != HTTPStatus.OK:
            raise UpstreamError(f"{NAME} did not count tokens ({answer.status}).")
        return len(msgspec.json.decode(body, type=_Tokens).tokens)


def _headers(endpoint: LocalEndpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.api_key}"}


_fits: type[Embedder] = LocalEmbeddings
