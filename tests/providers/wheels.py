"""Builds a model file, and the wheels that a mirror cuts it into, for tests."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from openclaw_twisted.providers.known_models import KnownModel, Wheel

__all__ = ["CONTENT", "known_model", "write_wheel", "write_wheels"]

CONTENT = b"GGUF" + bytes(range(256)) * 1200
"""A model's file; what matters of it is the beginning and that its parts differ."""


def known_model(url: str = "", *, wheels: tuple[Wheel, ...] = (), content: bytes = CONTENT) -> KnownModel:
    return KnownModel(
        name="tiny",
        title="A tiny model",
        licence="MIT",
        homepage="https://models.example/tiny",
        url=url,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        wheels=wheels,
    )


def write_wheels(directory: Path, *, parts: int = 2, content: bytes = CONTENT) -> tuple[Wheel, ...]:
    """Cut `content` into wheels in `directory`, which pip can be pointed at."""
    size = -(-len(content) // parts)
    return tuple(
        write_wheel(directory, number, content[(number - 1) * size : number * size])
        for number in range(1, parts + 1)
    )


def write_wheel(directory: Path, number: int, data: bytes) -> Wheel:
    project, module = f"tiny-part{number}", f"tiny_part{number}"
    path = directory / f"{module}-1.0-py3-none-any.whl"
    information = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}/data.bin", data)
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
