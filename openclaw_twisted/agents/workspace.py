"""The files of an agent's workspace that describe it, read with care: for use in a thread.

A workspace is written by agents too, so what stands in it is not trusted: links must not lead out of it,
pipes and devices are not opened, sizes are bounded, and whatever is not UTF-8 is replaced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["FILES", "MAX_FILE_BYTES", "Look", "WorkspaceFile", "look"]

FILES = ("AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md", "MEMORY.md")
"""OpenClaw 2026.9's files in its order, and TOOLS.md, which earlier workspaces have."""

MAX_FILE_BYTES = 2 * 1024 * 1024


class WorkspaceFile(NamedTuple):
    """A file's text without surrounding blanks, and what tells that it changed: modification time, size."""

    path: Path
    modified_ns: int
    size: int
    text: str


class Look(NamedTuple):
    """What was found: the files by name, in order, and the problems that were met."""

    files: dict[str, WorkspaceFile]
    problems: tuple[str, ...]


def look(folders: Sequence[Path], known: Mapping[str, WorkspaceFile]) -> Look:
    """Read the first of the folders that is there; files that did not change are taken from `known`."""
    files: dict[str, WorkspaceFile] = {}
    problems: list[str] = []
    try:
        folder = next((folder for folder in folders if folder.is_dir()), None)
    except OSError as error:  # somebody else's, most likely: it is not to be passed over for another one
        return Look(files, (f"{error.filename} cannot be looked at: {error.strerror}",))
    if folder is None:
        return Look(files, ())
    for name in FILES:
        try:
            found = _read(folder / name, known.get(name))
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            found = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if isinstance(found, WorkspaceFile):
            files[name] = found
        else:
            problems.append(f"{name} is left out: {found}")
    return Look(files, tuple(problems))


def _read(named: Path, known: WorkspaceFile | None) -> WorkspaceFile | str:
    """Return the file, or why it is not read."""
    path = named.resolve(strict=True)
    if not path.is_relative_to(named.parent.resolve()):
        return "it is a link that leads out of the workspace"
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "it is no ordinary file"
        version = (path, status.st_mtime_ns, status.st_size)
        if known is not None and known[:3] == version:
            return known
        with open(descriptor, "rb", closefd=False) as opened:
            text = opened.read(MAX_FILE_BYTES).decode("utf-8-sig", "replace").replace("\0", "")
        return WorkspaceFile(*version, text.strip())
    finally:
        os.close(descriptor)
