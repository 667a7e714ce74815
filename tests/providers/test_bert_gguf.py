"""Making a GGUF file, read back by a reader that knows the format's description and nothing of the writer."""

from __future__ import annotations

import struct
from pathlib import Path
from stat import S_IMODE
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.providers.bert_gguf import ALIGNMENT_BYTES, convert
from tests.providers.encoder import INNER, POSITIONS, SHAPES, WIDTH, WORDS, numbers, publisher_files

OURS = {
    "token_embd.weight": "embeddings.word_embeddings.weight",
    "position_embd.weight": "embeddings.position_embeddings.weight",
    "token_types.weight": "embeddings.token_type_embeddings.weight",
    "token_embd_norm.bias": "embeddings.LayerNorm.bias",
    "blk.0.ffn_up.weight": "encoder.layer.0.intermediate.dense.weight",
    "blk.0.attn_k.bias": "encoder.layer.0.attention.self.key.bias",
    "blk.1.ffn_up.weight": "encoder.layer.1.intermediate.dense.weight",
}
HALVED = {"token_embd.weight", "blk.0.ffn_up.weight", "blk.1.ffn_up.weight"}


class Reader:
    """Reads a GGUF file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.magic, self.version, tensors, entries = self.take("4sIQQ")
        self.metadata = {self.text(): self.value(self.one("I")) for _ in range(entries)}
        places = [self.place() for _ in range(tensors)]
        self.at += -self.at % ALIGNMENT_BYTES
        self.tensors = {
            name: (shape, type_, self.numbers_at(shape, type_, offset))
            for name, shape, type_, offset in places
        }

    def take(self, form: str) -> tuple[Any, ...]:
        taken = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return taken

    def one(self, form: str) -> Any:
        return self.take(form)[0]

    def text(self) -> str:
        text: bytes = self.one(f"{self.one('Q')}s")
        return text.decode()

    def value(self, type_: int) -> Any:
        if type_ == 8:
            return self.text()
        if type_ == 9:
            items, count = self.take("IQ")
            return [self.value(items) for _ in range(count)]
        return self.one({4: "I", 5: "i", 6: "f", 7: "?"}[type_])

    def place(self) -> tuple[str, tuple[int, ...], int, int]:
        name, shape = self.text(), self.take(f"{self.one('I')}Q")
        type_, offset = self.take("IQ")
        return name, shape, type_, offset

    def numbers_at(self, shape: tuple[int, ...], type_: int, offset: int) -> list[float]:
        count = 1
        for size in shape:
            count *= size
        return list(struct.unpack_from(f"<{count}{'fe'[type_]}", self.data, self.at + offset))


class ConvertTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = Path(self.mktemp()).absolute()
        self.source.write_bytes(publisher_files())
        self.target = self.source.with_suffix(".gguf")
        convert(self.source, self.target, name="tiny")
        self.made = Reader(self.target.read_bytes())

    def test_it_is_a_gguf_file_for_its_owner_alone(self) -> None:
        self.assertEqual((self.made.magic, self.made.version), (b"GGUF", 3))
        self.assertEqual(S_IMODE(self.target.stat().st_mode), 0o600)

    def test_the_tensors_have_llamas_names_and_reversed_shapes(self) -> None:
        self.assertEqual(set(self.made.tensors), set(OURS))
        for ours, theirs in OURS.items():
            shape, type_, values = self.made.tensors[ours]
            self.assertEqual(shape, SHAPES[theirs][::-1], ours)
            self.assertEqual(values, numbers(theirs), ours)
            self.assertEqual(type_, int(ours in HALVED), ours)

    def test_the_metadata_tell_the_models_shape(self) -> None:
        told = self.made.metadata
        expected = {
            "general.architecture": "bert",
            "general.name": "tiny",
            "bert.block_count": 2,
            "bert.context_length": POSITIONS,
            "bert.embedding_length": WIDTH,
            "bert.feed_forward_length": INNER,
            "bert.attention.causal": False,
            "bert.pooling_type": 1,
            "tokenizer.ggml.token_type_count": 2,
        }
        self.assertEqual({key: told[key] for key in expected}, expected)

    def test_words_are_marked_where_they_begin(self) -> None:
        told = self.made.metadata
        self.assertEqual(
            told["tokenizer.ggml.tokens"], [*WORDS[:6], "\u2581cat", "s", "\u2581[", "\u2581\u2028"]
        )
        self.assertEqual(told["tokenizer.ggml.token_type"], [3] * 6 + [1] * 4)
        steering = ("padding", "unknown", "cls", "seperator", "mask")
        ids = [told[f"tokenizer.ggml.{name}_token_id"] for name in steering]
        self.assertEqual(ids, [0, 2, 3, 4, 5])

    def test_the_same_input_makes_the_same_file(self) -> None:
        again = self.target.with_name("again.gguf")
        convert(self.source, again, name="tiny")
        self.assertEqual(again.read_bytes(), self.target.read_bytes())
