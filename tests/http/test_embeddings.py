import struct
from base64 import b64decode
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.settings import ProviderSettings
from openclaw_twisted.errors import ConfigError
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, real_reactor
from tests.http.door import Answer, DoorCase


class Embedding(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Any] = []
        self.upstream = FakeUpstream(self.embed)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        self.open_embedding()

    def open_embedding(self, *more_keys: str) -> None:
        """Open the door with an embedding model that nothing has gone wrong with yet."""
        provider = ProviderSettings(
            base_url=self.upstream.base_url,
            api_key=Secret("sk-the-key"),
            api_keys=tuple(map(Secret, more_keys)),
        )
        configured = self.configured = Configured(real_reactor(), {"mock": provider})
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        self.open(embedder=configured.embedder("mock/small"))

    def embed(self, call: UpstreamCall) -> None:
        """Embed a text as its length and its place, in the wrong order, as an upstream may."""
        self.asked.append((call.path, call.headers["authorization"], call.body))
        rows = [
            {"object": "embedding", "index": at, "embedding": [float(len(text)), float(at)]}
            for at, text in enumerate(call.body["input"])
        ]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        call.answer(200, msgspec.json.encode({"object": "list", "data": rows[::-1], "usage": usage}))

    async def vectors(self, **body: Any) -> Answer:
        return await self.ask("POST", "/v1/embeddings", body=body)

    async def test_texts_become_vectors_in_their_order(self) -> None:
        answer = await self.vectors(model="any-name", input=["a", "bcd"])
        self.assertEqual(
            answer.json,
            {
                "object": "list",
                "model": "any-name",
                "data": [
                    {"object": "embedding", "index": 0, "embedding": [1.0, 0.0]},
                    {"object": "embedding", "index": 1, "embedding": [3.0, 1.0]},
                ],
                "usage": {"prompt_tokens": 7, "total_tokens": 7},
            },
        )
        path, key, sent = self.asked[0]
        self.assertEqual((path, key), ("/v1/embeddings", "Bearer sk-the-key"))
        self.assertEqual(sent, {"model": "small", "input": ["a", "bcd"], "encoding_format": "float"})

    async def test_base64_is_little_endian_floats(self) -> None:
        answer = await self.vectors(input="abc", encoding_format="base64", dimensions=2)
        packed = b64decode(answer.json["data"][0]["embedding"])
        self.assertEqual(struct.unpack("<2f", packed), (3.0, 0.0))
        self.assertEqual(self.asked[0][2]["dimensions"], 2)

    async def test_a_number_that_base64_has_no_room_for(self) -> None:
        self.upstream.behaviour = lambda call: call.answer(200, b'{"data":[{"embedding":[1e39]}]}')
        self.assertEqual((await self.vectors(input="abc")).json["data"][0]["embedding"], [1e39])
        answer = await self.vectors(input="abc", encoding_format="base64")
        self.assertEqual((answer.status, answer.json["error"]["code"]), (502, "upstream_unavailable"))

    async def test_tokens(self) -> None:
        for given, sent in (([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])):
            self.assertEqual((await self.vectors(input=given)).status, 200)
            self.assertEqual(self.asked[-1][2]["input"], sent)

    async def test_what_cannot_be_embedded(self) -> None:
        wrong: list[Any] = ["", [], [""], ["a", 1], [[]], [1, [2]], None, {}, ["a"] * 2049]
        for given in wrong:
            answer = await self.vectors(input=given)
            told = (answer.status, answer.error["type"])
            self.assertEqual(told, (400, "invalid_request_error"), str(given)[:20])
        self.assertEqual((await self.vectors(input="a", encoding_format="hex")).status, 400)
        self.assertEqual((await self.vectors(input="a", dimensions=0)).status, 400)
        self.assertEqual(self.asked, [])

    async def test_trouble_upstream(self) -> None:
        table: list[tuple[int, bytes, int]] = [
            (401, b"", 502),
            (429, b"", 429),
            (500, b"", 502),
            (400, b'{"error":{"message":"too long: maximum context length"}}', 400),
            (200, b"<html>", 502),
            (200, b'{"data":[]}', 502),
        ]
        for status, body, told in table:

            def behave(call: UpstreamCall, status: int = status, body: bytes = body) -> None:
                call.answer(status, body)

            self.upstream.behaviour = behave
            await self.door.stop()
            self.open_embedding()
            self.assertEqual((await self.vectors(input="a")).status, told, status)

    async def test_another_key_is_used_while_one_is_refused(self) -> None:
        def behave(call: UpstreamCall) -> None:
            if call.headers["authorization"] == "Bearer sk-the-key":
                self.asked.append(None)
                call.answer(401)
            else:
                self.embed(call)

        self.upstream.behaviour = behave
        await self.door.stop()
        self.open_embedding("sk-another-key")
        for _ in range(2):
            self.assertEqual((await self.vectors(input="a")).status, 200)
        keys = [asked and asked[1] for asked in self.asked]
        self.assertEqual(keys, [None, "Bearer sk-another-key", "Bearer sk-another-key"])

    async def test_without_a_model_it_says_how_to_configure_one(self) -> None:
        await self.door.stop()
        self.open()
        answer = await self.vectors(input="a")
        self.assertEqual((answer.status, answer.error["code"]), (501, "not_configured"))
        self.assertIn("models.embedding", answer.error["message"])

    def test_a_model_of_nobody(self) -> None:
        for model in ("nobody/m", "mock", "mock/"):
            with self.assertRaises(ConfigError, msg=model):
                self.configured.embedder(model)
