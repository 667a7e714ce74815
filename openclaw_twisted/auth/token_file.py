"""The token that the gateway makes for itself when none is configured, kept in a file of the owner's alone.

Two processes that start at once must end up with the same token, and nobody may ever read half of one:
the token is written to a file of a random name, and a hard link gives it its real name, which fails if
another process was first. All opens go through the directory's descriptor and follow no symbolic link.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

from twisted.logger import Logger

from openclaw_twisted.config.settings import Secret
from openclaw_twisted.errors import ConfigError, Problem, StateDirectoryError

__all__ = ["TokenFile", "load_or_create_token", "token_path"]

_FOLDER = "credentials"
_NAME = "gateway-token"
_TOKEN_BYTES = 32
_MIN_TOKEN_LENGTH = 32
_MAX_FILE_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_log = Logger()


class TokenFile(NamedTuple):
    """The token, the file it is kept in, and whether it was made just now."""

    token: Secret
    path: Path
    created: bool


def token_path(state_dir: Path) -> Path:
    """Return where the token is, or will be once there is one."""
    return state_dir / _FOLDER / _NAME


def load_or_create_token(state_dir: Path) -> TokenFile:
    """Return the token kept in the state directory, making a strong one at the first start.

    Raises `ConfigError` when the file is not an ordinary one of ours, `StateDirectoryError` when it cannot be
    read or written.
    """
    path = token_path(state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _tighten(folder, path.parent)
            return _load_or_create(folder, path)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EEXIST}:
            raise _unusable(path, "it, or its folder, is a symbolic link or no folder. Remove it.") from error
        why = f"{error.strerror or error}. Check its owner, its permissions and its disk."
        raise StateDirectoryError(str(path), _problems(why)) from error


def _load_or_create(folder: int, path: Path) -> TokenFile:
    created = False
    while True:  # ends: the file is there, or we make it, or another process just has
        try:
            return TokenFile(_load(folder, path), path, created)
        except FileNotFoundError:
            created = _create(folder)


def _load(folder: int, path: Path) -> Secret:
    # O_NONBLOCK: opening a FIFO would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(_NAME, flags, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unusable(path, "it is no ordinary file. Remove it, and a new token will be made.")
        _tighten(descriptor, path)
        text = os.read(descriptor, _MAX_FILE_BYTES).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    if len(text) < _MIN_TOKEN_LENGTH or not text.isascii() or not text.isprintable():
        raise _unusable(path, "it holds no token. Remove it, and a new token will be made.")
    return Secret(text)


def _create(folder: int) -> bool:
    """Write a new token; return False if another process was faster."""
    scratch = f".{_NAME}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(scratch, flags, 0o600, dir_fd=folder)
    try:
        try:
            os.write(descriptor, secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(scratch, _NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        return False
    finally:
        os.unlink(scratch, dir_fd=folder)
    os.fsync(folder)
    return True


def _tighten(descriptor: int, path: Path) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & _OTHERS:
        os.fchmod(descriptor, mode & ~_OTHERS)
        _log.warn(
            "{path} was open to other users (mode {mode:o}); it is not any more. If they should not have "
            "seen the gateway's token, delete the file and restart.",
            path=str(path),
            mode=mode,
        )


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(str(path), _problems(why))


def _problems(why: str) -> tuple[Problem, ...]:
    return (Problem("", f"The gateway's token file cannot be used: {why}"),)
