"""A sentence encoder's GGUF file, made from what its publisher gives: safetensors and a vocabulary.

llama.cpp reads GGUF only. The matrices become 16-bit floats, which halves the file and the time that a text
takes and changes the vectors in the fifth decimal; all else is copied as it is. The same input always makes
the same file, so that its checksum can be pinned. The formats:

- https://huggingface.co/docs/safetensors: the length of a JSON header (8 bytes), the header, the tensors.
- https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: counts, metadata, the tensors' names and places,
  the tensors.
- What llama.cpp calls BERT's tensors and expects of its metadata: `BertModel` in its `convert_hf_to_gguf.py`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

__all__ = ["convert"]

ALIGNMENT_BYTES: Final = 32
# A block is converted in one go, in which no other thread runs: a third of a millisecond.
BLOCK_BYTES: Final = 16 * 1024
HEADS: Final = 12
NORM_EPSILON: Final = 1e-12
MATRIX: Final = 2
MEAN_POOLING: Final = 1
VERSION: Final = 3

# GGUF's numbers for the types of metadata and of tensors that are needed here.
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_F32, _F16 = 0, 1
_MOSTLY_F16: Final = 1

# llama.cpp's kinds of words: those that are said, and those that steer. The spelling is GGUF's own.
_NORMAL, _CONTROL = 1, 3
_STEERING = {"[UNK]": "unknown", "[SEP]": "seperator", "[PAD]": "padding", "[CLS]": "cls", "[MASK]": "mask"}

_NAMES: Final = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_SMALL: Final = frozenset({"position_embd.weight", "token_types.weight"})
_TENSOR = re.compile(r"(?:encoder\.layer\.(?P<layer>\d+)\.)?(?P<part>.+)\.(?P<kind>weight|bias)")


class _Tensor(msgspec.Struct, frozen=True, kw_only=True):
    dtype: Literal["F32", "I64"]
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]

    @property
    def size_bytes(self) -> int:
        return self.data_offsets[1] - self.data_offsets[0]


def convert(source: Path, target: Path, *, name: str) -> None:
    """Write the GGUF file `target` from `source`, a model.safetensors with its vocab.txt behind it; blocks.

    The model is a BERT of 32-bit floats and 12 heads whose vectors are the mean over their tokens.
    """
    with source.open("rb") as given, _private(target) as made:
        everything = _header(given)
        first = given.tell()
        given.seek(first + max(tensor.data_offsets[1] for tensor in everything.values()))
        words = given.read().decode().removesuffix("\n").split("\n")
        tensors = {ours: tensor for theirs, tensor in everything.items() if (ours := _named(theirs))}
        metadata = [*_metadata(tensors, name), *_vocabulary(words)]
        made.write(struct.pack("<4sIQQ", b"GGUF", VERSION, len(tensors), len(metadata)))
        made.writelines(metadata)
        made.writelines(_places(tensors))
        for ours, tensor in tensors.items():
            made.write(bytes(-made.tell() % ALIGNMENT_BYTES))
            given.seek(first + tensor.data_offsets[0])
            _copy(given, made, tensor.size_bytes, halve=_type(ours, tensor) == _F16)
        made.flush()
        os.fsync(made.fileno())


def _private(target: Path) -> IO[bytes]:
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _header(given: IO[bytes]) -> dict[str, _Tensor]:
    (length,) = struct.unpack("<Q", given.read(8))
    header = msgspec.json.decode(given.read(length))
    header.pop("__metadata__", None)
    return msgspec.convert(header, dict[str, _Tensor])


def _named(theirs: str) -> str | None:
    """Return llama.cpp's name of a tensor; None for those that it does not need."""
    parts = _TENSOR.fullmatch(theirs)
    if parts is None or parts["part"] not in _NAMES:
        return None
    block = f"blk.{parts['layer']}." if parts["layer"] else ""
    return f"{block}{_NAMES[parts['part']]}.{parts['kind']}"


def _type(ours: str, tensor: _Tensor) -> int:
    """Return the type that a tensor gets: the small ones stay as they are, as llama.cpp wants them."""
    is_matrix = len(tensor.shape) == MATRIX and ours not in _SMALL
    return _F16 if is_matrix else _F32


def _metadata(tensors: dict[str, _Tensor], name: str) -> Iterator[bytes]:
    positions, width = tensors["position_embd.weight"].shape
    yield _entry("general.architecture", _STRING, "bert")
    yield _entry("general.name", _STRING, name)
    yield _entry("general.file_type", _UINT32, _MOSTLY_F16)
    yield _entry("bert.block_count", _UINT32, sum("ffn_up.weight" in each for each in tensors))
    yield _entry("bert.context_length", _UINT32, positions)
    yield _entry("bert.embedding_length", _UINT32, width)
    yield _entry("bert.feed_forward_length", _UINT32, tensors["blk.0.ffn_up.weight"].shape[0])
    yield _entry("bert.attention.head_count", _UINT32, HEADS)
    yield _entry("bert.attention.layer_norm_epsilon", _FLOAT32, NORM_EPSILON)
    yield _entry("bert.attention.causal", _BOOL, value=False)
    yield _entry("bert.pooling_type", _UINT32, MEAN_POOLING)
    yield _entry("tokenizer.ggml.token_type_count", _UINT32, tensors["token_types.weight"].shape[0])


def _vocabulary(words: Sequence[str]) -> Iterator[bytes]:
    yield _entry("tokenizer.ggml.model", _STRING, "bert")
    yield _entry("tokenizer.ggml.pre", _STRING, "jina-v2-en")  # llama.cpp's name for BERT's plain splitting
    yield _list("tokenizer.ggml.tokens", _STRING, [_word(word) for word in words])
    kinds = [_CONTROL if _steers(word) else _NORMAL for word in words]
    yield _list("tokenizer.ggml.token_type", _INT32, kinds)
    for word, key in _STEERING.items():
        yield _entry(f"tokenizer.ggml.{key}_token_id", _UINT32, words.index(word))


def _steers(word: str) -> bool:
    return word in _STEERING or word.startswith("[unused")


def _word(word: str) -> str:
    """Return a word as llama.cpp wants it: a mark where one begins, none where it goes on."""
    if _steers(word):
        return word
    return word[2:] if word.startswith("##") else f"\u2581{word}"


def _places(tensors: dict[str, _Tensor]) -> Iterator[bytes]:
    """Say of each tensor its name, shape, type and place; GGUF counts the dimensions from the last."""
    offset = 0
    for name, tensor in tensors.items():
        shape, type_ = tensor.shape[::-1], _type(name, tensor)
        yield _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_, offset)
        size = tensor.size_bytes // 2 if type_ == _F16 else tensor.size_bytes
        offset += size + -size % ALIGNMENT_BYTES


def _entry(key: str, type_: int, value: str | float | bool) -> bytes:
    return _text(key) + struct.pack("<I", type_) + _value(type_, value)


def _list(key: str, type_: int, values: Sequence[str] | Sequence[int]) -> bytes:
    head = struct.pack("<IIQ", _ARRAY, type_, len(values))
    return _text(key) + head + b"".join(_value(type_, value) for value in values)


def _value(type_: int, value: str | float | bool) -> bytes:
    if isinstance(value, str):
        return _text(value)
    return struct.pack({_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f", _BOOL: "<?"}[type_], value)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _copy(given: IO[bytes], made: IO[bytes], size_bytes: int, *, halve: bool) -> None:
    while size_bytes:
        block = given.read(min(size_bytes, BLOCK_BYTES))
        size_bytes -= len(block)
        if halve:
            count = len(block) // 4
            block = struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", block))
        made.write(block)
