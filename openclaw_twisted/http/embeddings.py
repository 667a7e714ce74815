"""POST /v1/embeddings: texts become vectors, as numbers or as base64."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from openclaw_twisted.boundaries import Embedder
from openclaw_twisted.config.settings import EMBEDDING_KEY
from openclaw_twisted.errors import InvalidRequestError, NotConfiguredError, UpstreamError
from openclaw_twisted.http.body import MAX_INTEGER, decode
from openclaw_twisted.http.endpoint import Call, Reply, json_reply

__all__ = ["EmbeddingRequest", "EmbeddingsEndpoint", "EmbeddingsOut", "parse"]

MAX_INPUTS = 2048

Text = Annotated[str, Meta(min_length=1)]
Token = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Tokens = Annotated[list[Token], Meta(min_length=1)]


# What `_inputs` demands of a list beyond the type, which cannot tell one kind of list from another.
_ALIKE = {
    "oneOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "maxItems": MAX_INPUTS},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array"}, "maxItems": MAX_INPUTS},
    ]
}


class EmbeddingRequest(msgspec.Struct):
    """What to embed: a text, texts, tokens, or lists of tokens; 2,048 at most."""

    input: Annotated[
        Text | Annotated[list[Text | Token | Tokens], Meta(min_length=1)], Meta(extra_json_schema=_ALIKE)
    ]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None


class EmbeddingOut(msgspec.Struct):
    """One vector."""

    index: int
    embedding: Sequence[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsageOut(msgspec.Struct):
    """Tokens as the provider counted them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsOut(msgspec.Struct):
    """All vectors, in the order of the inputs."""

    data: list[EmbeddingOut]
    model: str
    usage: EmbeddingUsageOut | UnsetType = UNSET
    object: Literal["list"] = "list"


_decoder = msgspec.json.Decoder(EmbeddingRequest)


@dataclass(frozen=True)
class EmbeddingsEndpoint:
    """Embeds with the one model that the settings name; None when they name none."""

    embedder: Embedder | None

    async def __call__(self, call: Call) -> Reply:
        """Answer with the vectors."""
        asked, inputs = parse(call.body)
        if self.embedder is None:
            raise NotConfiguredError(
                f'No embedding model is configured. Set {EMBEDDING_KEY} to "provider/model".'
            )
        embedded = await self.embedder.embed(inputs, asked.dimensions)
        in_base64 = asked.encoding_format == "base64"
        usage = embedded.usage
        return json_reply(
            EmbeddingsOut(
                data=[
                    EmbeddingOut(index=at, embedding=_base64(vector) if in_base64 else vector)
                    for at, vector in enumerate(embedded.vectors)
                ],
                model=asked.model or "openclaw",
                usage=EmbeddingUsageOut(usage.prompt_tokens, usage.total_tokens) if usage else UNSET,
            )
        )


def parse(body: bytes) -> tuple[EmbeddingRequest, list[str] | list[list[int]]]:
    """Read a request body: what is asked, and its inputs as a list of texts or of token lists.

    Raises `InvalidRequestError` that says what is wrong and where.
    """
    asked = decode(_decoder, body)
    return asked, _inputs(asked.input)


def _inputs(given: str | Sequence[str | int | list[int]]) -> list[str] | list[list[int]]:
    """Return a list of texts or a list of token lists; a flat list of tokens is one input."""
    if isinstance(given, str):
        return [given]
    if len(given) > MAX_INPUTS and not isinstance(given[0], int):
        raise InvalidRequestError(f"At most {MAX_INPUTS} inputs at a time.", param="input")
    texts = [item for item in given if isinstance(item, str)]
    tokens = [item for item in given if isinstance(item, int)]
    lists = [item for item in given if isinstance(item, list)]
    for alike in (texts, lists, [tokens]):
        if len(alike) == len(given) or alike == [list(given)]:
            return alike
    raise InvalidRequestError("Texts, tokens and lists of tokens cannot be mixed.", param="input")


def _base64(vector: Sequence[float]) -> str:
    # OpenAI's clients ask for this by default: 32-bit floats, lowest byte first.
    try:
        packed = struct.pack(f"<{len(vector)}f", *vector)
    except OverflowError:
        raise UpstreamError("The embedding model gave a number that no 32-bit float can hold.") from None
    return b64encode(packed).decode()
