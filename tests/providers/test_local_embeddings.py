"""The local embedding model with a server that the test plays; llama.cpp itself is in test_local_server."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from openclaw_twisted.boundaries import Embedded
from openclaw_twisted.content import Usage
from openclaw_twisted.errors import (
    ContextLengthError,
    GatewayError,
    InvalidRequestError,
    ModelNotReadyError,
    UpstreamError,
    UpstreamOverloadedError,
)
from openclaw_twisted.providers.known_models import Embedding
from openclaw_twisted.providers.local_embeddings import (
    BATCH_TEXTS,
    COUNTED_CHARACTERS,
    MAX_CONCURRENT,
    LocalEmbeddings,
)
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor
from tests.providers.test_local import FakeModel

E = TypeVar("E", bound=GatewayError)

LIMIT = 5
FACTS = Embedding(dimensions=2, max_tokens=LIMIT)


class EmbeddingCase(TestCase):
    """A server whose vectors are a text's length and its place in its request; a word is a token."""

    timeout = 10

    def setUp(self) -> None:
        self.asked: list[Any] = []
        self.counted: list[str] = []
        self.server = FakeUpstream(self.answer)
        self.server.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))
        self.model = FakeModel(self.server)
        self.local = LocalEmbeddings(real_reactor(), self.model, FACTS, max_queued=0)

    def answer(self, call: UpstreamCall) -> None:
        self.key = call.headers["authorization"]
        if call.path == "/tokenize":
            self.counted.append(call.body["content"])
            tokens = [7] * len(call.body["content"].split())
            call.answer(200, msgspec.json.encode({"tokens": tokens}))
            return
        self.asked.append(call.body)
        texts = call.body["input"]
        if any(len(text.split()) > LIMIT for text in texts):
            call.answer(500, b'{"error":{"message":"input is too large to process"}}')
            return
        rows = [{"index": at, "embedding": [len(text), at]} for at, text in enumerate(texts)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        call.answer(200, msgspec.json.encode({"data": rows, "usage": usage}))

    def embed(self, *texts: Any, dimensions: int | None = None) -> Deferred[Embedded]:
        return Deferred.fromCoroutine(self.local.embed(texts, dimensions))

    async def failing(self, work: Deferred[Any], kind: type[E]) -> E:
        try:
            await work
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")


class EmbeddingTests(EmbeddingCase):
    async def test_the_process_is_asked_with_its_own_name_and_key(self) -> None:
        embedded = await self.embed("a", "bcd", dimensions=2)
        self.assertEqual(embedded.vectors, ((1.0, 0.0), (3.0, 1.0)))
        self.assertEqual(embedded.usage, Usage(prompt_tokens=2, total_tokens=2))
        self.assertEqual(
            self.asked, [{"model": "served-name", "input": ["a", "bcd"], "encoding_format": "float"}]
        )
        self.assertEqual((self.key, self.counted), ("Bearer key", []))

    async def test_many_texts_are_asked_for_in_batches(self) -> None:
        texts = ["x" * (at + 1) for at in range(2 * BATCH_TEXTS + 1)]
        embedded = await self.embed(*texts)
        self.assertEqual([vector[0] for vector in embedded.vectors], [len(text) for text in texts])
        self.assertEqual([len(asked["input"]) for asked in self.asked], [BATCH_TEXTS, BATCH_TEXTS, 1])
        assert embedded.usage is not None
        self.assertEqual(embedded.usage.prompt_tokens, len(texts))

    async def test_hanging_up_ends_it_with_the_batch(self) -> None:
        arrived: Deferred[None] = Deferred()

        def wait(call: UpstreamCall) -> None:
            self.asked.append(call.body)
            arrived.callback(None)

        self.server.behaviour = wait
        work = self.embed(*["x"] * (3 * BATCH_TEXTS))
        await arrived
        work.cancel()
        with self.assertRaises(CancelledError):
            await work
        self.assertEqual(len(self.asked), 1)

    async def test_what_the_model_cannot_do_is_refused_before_it_is_loaded(self) -> None:
        self.model.obstacle = ModelNotReadyError("soon")
        error = await self.failing(self.embed([1, 2]), InvalidRequestError)
        self.assertEqual(error.param, "input")
        error = await self.failing(self.embed("a", dimensions=3), InvalidRequestError)
        self.assertEqual(error.param, "dimensions")
        self.assertIn("tiny makes vectors of 2 numbers", error.message)

    async def test_what_keeps_the_model_from_answering_is_told(self) -> None:
        self.model.obstacle = ModelNotReadyError("soon")
        self.assertEqual((await self.failing(self.embed("a"), ModelNotReadyError)).message, "soon")
        self.model.obstacle = None
        await self.embed("a")

    async def test_more_than_may_wait_are_refused(self) -> None:
        waiting: list[UpstreamCall] = []
        here: Deferred[None] = Deferred()

        def wait(call: UpstreamCall) -> None:
            waiting.append(call)
            if len(waiting) == MAX_CONCURRENT:
                here.callback(None)

        self.server.behaviour = wait
        works = [self.embed("a") for _ in range(MAX_CONCURRENT)]
        await here
        error = await self.failing(self.embed("a"), UpstreamOverloadedError)
        self.assertIn("models.providers.local.maxQueued", error.message)
        for call in waiting:
            self.answer(call)
        for work in works:
            await work
        self.server.behaviour = self.answer
        await self.embed("a")


class LengthTests(EmbeddingCase):
    async def test_a_text_that_is_too_long_is_named(self) -> None:
        texts = ["a"] * (BATCH_TEXTS + 1) + ["a b c d e f", "a"]
        error = await self.failing(self.embed(*texts), ContextLengthError)
        self.assertIn(f"Input {BATCH_TEXTS + 1} is longer than 5 tokens, the limit of tiny", error.message)
        self.assertIn("context_length_exceeded", error.message)

    async def test_one_that_is_far_too_long_is_not_even_sent(self) -> None:
        error = await self.failing(self.embed("a", "b " * COUNTED_CHARACTERS), ContextLengthError)
        self.assertIn("Input 1 is longer", error.message)
        self.assertEqual((self.asked, [len(text) for text in self.counted]), ([], [COUNTED_CHARACTERS]))

    async def test_a_long_text_of_few_tokens_is_embedded(self) -> None:
        embedded = await self.embed("b" * (COUNTED_CHARACTERS + 1))
        self.assertEqual(embedded.vectors, ((COUNTED_CHARACTERS + 1, 0.0),))

    async def test_other_trouble_stays_what_it_is(self) -> None:
        def fail(call: UpstreamCall) -> None:
            if call.path == "/tokenize":
                self.answer(call)
            else:
                call.answer(500, b'{"error":{"message":"out of luck"}}')

        self.server.behaviour = fail
        self.assertIn("out of luck", (await self.failing(self.embed("a"), UpstreamError)).message)

    async def test_an_engine_that_does_not_count_is_trouble(self) -> None:
        self.server.behaviour = lambda call: call.answer(404)
        error = await self.failing(self.embed("a"), UpstreamError)
        self.assertIn("did not count tokens (404)", error.message)
