"""The wire of OpenAI-compatible embeddings: texts in, one vector for each out.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from openclaw_twisted.boundaries import Embedded, Embedder
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.refusals import MAX_ERROR_BODY_BYTES, UNREADABLE, refusal
from openclaw_twisted.providers.streamed import counted
from openclaw_twisted.providers.upstream import Address, Sender

__all__ = ["OpenAIEmbeddings"]

# 2,048 vectors of 3,072 numbers, written out in decimals.
MAX_BODY_BYTES = 192 * 1024 * 1024


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Any = None
    total_tokens: Any = None


class _Body(msgspec.Struct):
    data: list[_Row]
    usage: _Usage | None = None


class OpenAIEmbeddings:
    """One embedding model of an upstream that answers at `<base_url>/embeddings`."""

    def __init__(
        self, upstream: Sender, *, name: str, base_url: str, headers: Mapping[str, str], model: str
    ) -> None:
        self._upstream = upstream
        self._name = name
        # Numbers written out in decimals are half as long when compressed.
        self._address = Address(f"{base_url.rstrip('/')}/embeddings", {"accept-encoding": "gzip", **headers})
        self._model = model

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], dimensions: int | None
    ) -> Embedded:
        """Return the vectors in the order of the inputs."""
        asked: dict[str, Any] = {"model": self._model, "input": inputs, "encoding_format": "float"}
        if dimensions is not None:
            asked["dimensions"] = dimensions
        answer = await self._upstream.post(self._address, msgspec.json.encode(asked))
        try:
            good = answer.status == HTTPStatus.OK
            body = await answer.read_at_most(MAX_BODY_BYTES if good else MAX_ERROR_BODY_BYTES)
        finally:
            answer.body.close()
        if not good:
            raise refusal(
                self._name,
                answer.status,
                body,
                retry_after=answer.retry_after,
                secrets=answer.secrets,
            )
        return self._read(body, len(inputs))

    def _read(self, body: bytes, expected: int) -> Embedded:
        try:
            said = msgspec.json.decode(body, type=_Body)
        except UNREADABLE as error:
            raise UpstreamError(f"{self._name} answered with something that is no embedding.") from error
        rows = sorted(enumerate(said.data), key=lambda row: row[0] if row[1].index is None else row[1].index)
        if len(rows) != expected:
            raise UpstreamError(f"{self._name} gave {len(rows)} embeddings for {expected} texts.")
        return Embedded(
            vectors=tuple(tuple(row.embedding) for _, row in rows),
            usage=None if said.usage is None else _usage(said.usage),
        )


def _usage(wire: _Usage) -> Usage:
    prompt = counted(wire.prompt_tokens) or 0
    total = counted(wire.total_tokens)
    return Usage(prompt_tokens=prompt, total_tokens=prompt if total is None else total)


_fits: type[Embedder] = OpenAIEmbeddings
