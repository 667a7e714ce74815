"""Model files for tests: one made up, wheels that a mirror cuts it into, sources, and a store to fill."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Awaitable
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import msgspec
from twisted.trial.unittest import TestCase

from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.bert_gguf import convert
from openclaw_twisted.providers.known_models import Embedding, KnownModel, Pin, Published, Wheel
from openclaw_twisted.providers.partial_file import PartialFile
from openclaw_twisted.providers.weight_sources import Progress, Source
from openclaw_twisted.providers.weights import WeightsStore
from openclaw_twisted.testing import real_reactor
from tests.providers.encoder import POSITIONS, WIDTH, publisher_files

__all__ = [
    "CONTENT",
    "FixedSource",
    "RefusingSource",
    "Steps",
    "StoreCase",
    "embedding_model",
    "known_model",
    "silent",
    "write_wheel",
    "write_wheels",
]

E = TypeVar("E", bound=Exception)

CONTENT = b"GGUF" + bytes(range(256)) * 1200
"""A model's file; what matters of it is the beginning and that its parts differ."""


def known_model(url: str = "", *, wheels: tuple[Wheel, ...] = (), content: bytes = CONTENT) -> KnownModel:
    return KnownModel(
        name="tiny",
        title="A tiny model",
        licence="MIT",
        homepage="https://models.example/tiny",
        files=(Published(url=url, size_bytes=len(content)),),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        wheels=wheels,
    )


def embedding_model() -> tuple[KnownModel, bytes]:
    """Return a model whose GGUF file is made from its two files, and these, one behind the other."""
    download = publisher_files()
    directory = Path(mkdtemp())
    try:
        (directory / "download").write_bytes(download)
        convert(directory / "download", directory / "made", name="tiny")
        made = (directory / "made").read_bytes()
    finally:
        shutil.rmtree(directory)
    model = msgspec.structs.replace(
        known_model(content=download),
        made=Pin(size_bytes=len(made), sha256=hashlib.sha256(made).hexdigest()),
        embedding=Embedding(dimensions=WIDTH, max_tokens=POSITIONS),
    )
    return model, download


def write_wheels(directory: Path, *, parts: int = 2, content: bytes = CONTENT) -> tuple[Wheel, ...]:
    """Cut `content` into wheels in `directory`, which pip can be pointed at."""
    size = -(-len(content) // parts)
    return tuple(
        write_wheel(directory, number, content[(number - 1) * size : number * size])
        for number in range(1, parts + 1)
    )


def write_wheel(directory: Path, number: int, data: bytes, second: bytes | None = None) -> Wheel:
    """Write a wheel that holds `data` and, in data2.bin, what comes behind it; return the first stretch."""
    project, module = f"tiny-part{number}", f"tiny_part{number}"
    path = directory / f"{module}-1.0-py3-none-any.whl"
    information = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}/data.bin", data)
        if second is not None:
            wheel.writestr(f"{module}/data2.bin", second)
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    return Wheel(
        project=project,
        version="1.0",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member=f"{module}/data.bin",
        size_bytes=len(data),
    )


def silent(done_bytes: int, total_bytes: int, source: str) -> None:
    """Take progress and drop it."""


class Steps:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, str]] = []

    def __call__(self, done_bytes: int, total_bytes: int, source: str) -> None:
        self.steps.append((done_bytes, total_bytes, source))


class FixedSource:
    """A source that gives these bytes, whatever it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked = 0

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        self.asked += 1
        await file.keep(0)
        await file.append(self.content)
        progress(file.size_bytes, model.size_bytes, "here")


class RefusingSource:
    """A source that has nothing."""

    async def fetch(self, model: KnownModel, file: PartialFile, progress: Progress) -> None:
        raise UpstreamError("The first source is closed.")


class StoreCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def store(self, *sources: Source, model: KnownModel | None = None) -> WeightsStore:
        model = model or known_model()
        return WeightsStore(real_reactor(), self.state, sources=sources, models={model.name: model})

    async def failing(self, work: Awaitable[object], kind: type[E]) -> E:
        try:
            await work
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    def files(self) -> set[str]:
        return {path.name for path in (self.state / "models").iterdir()}
