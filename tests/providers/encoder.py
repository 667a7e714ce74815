"""A sentence encoder that is made up: the files that its publisher would give."""

from __future__ import annotations

import json
import struct
from typing import Any

__all__ = ["INNER", "POSITIONS", "SHAPES", "WIDTH", "WORDS", "numbers", "publisher_files"]

WORDS = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s", "[", "\u2028")
WIDTH, POSITIONS, INNER = 4, 8, 6
SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
    "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
    "embeddings.token_type_embeddings.weight": (2, WIDTH),
    "embeddings.LayerNorm.bias": (WIDTH,),
    "encoder.layer.0.intermediate.dense.weight": (INNER, WIDTH),
    "encoder.layer.0.attention.self.key.bias": (WIDTH,),
    "encoder.layer.1.intermediate.dense.weight": (INNER, WIDTH),
    "pooler.dense.weight": (WIDTH, WIDTH),
}


def numbers(name: str) -> list[float]:
    """Return a tensor's numbers: halves of floats are exact for them."""
    first = list(SHAPES).index(name) * 100
    count = 1
    for size in SHAPES[name]:
        count *= size
    return [(first + at) / 4 for at in range(count)]


def publisher_files() -> bytes:
    """Return a model.safetensors with its vocab.txt behind it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytes(16)
    header["embeddings.position_ids"] = {"dtype": "I64", "shape": [1, 2], "data_offsets": [0, 16]}
    for name, shape in SHAPES.items():
        tensor = struct.pack(f"<{len(numbers(name))}f", *numbers(name))
        offsets = [len(data), len(data) + len(tensor)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        data += tensor
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data + "".join(f"{word}\n" for word in WORDS).encode()
