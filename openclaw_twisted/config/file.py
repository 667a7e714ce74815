"""Where the configuration file is, and what it says together with everything it includes.

Nothing here writes: the file is the user's.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from openclaw_twisted.config import auth_profiles, dotenv, syntax
from openclaw_twisted.config.auth_profiles import AuthProfiles, profiles_path
from openclaw_twisted.config.builder import forget_types
from openclaw_twisted.config.findings import Findings
from openclaw_twisted.config.include import Includes
from openclaw_twisted.config.parse import Loaded, settle
from openclaw_twisted.errors import ConfigError, Problem

__all__ = ["MAX_FILE_BYTES", "find", "load", "own_home", "state_dir"]

MAX_FILE_BYTES: Final = 2 * 1024 * 1024
_NAME: Final = "openclaw.json"
_PROFILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_UNSET: Final = {"", "undefined", "null"}
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def own_home() -> Path:
    """Return the home of who runs this process; for a user without one, as containers have, the root."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def state_dir(environ: Mapping[str, str], home: Path) -> Path:
    """Return the folder for everything that the gateway keeps: OPENCLAW_STATE_DIR, else `~/.openclaw`.

    With OPENCLAW_PROFILE that is `~/.openclaw-<profile>`.
    """
    profile = environ.get("OPENCLAW_PROFILE", "").strip()
    named = _PROFILE.fullmatch(profile) is not None and profile.lower() != "default"
    folder = f".openclaw-{profile}" if named else ".openclaw"
    return _path_from(environ, "OPENCLAW_STATE_DIR", home) or _home(environ, home) / folder


def find(path: Path | None, environ: Mapping[str, str], home: Path) -> Path:
    """Return where the configuration file is or would be: `path`, OPENCLAW_CONFIG_PATH, the state folder."""
    return path or _path_from(environ, "OPENCLAW_CONFIG_PATH", home) or state_dir(environ, home) / _NAME


def load(
    path: Path | None,
    environ: Mapping[str, str],
    home: Path,
    *,
    overrides: Mapping[str, object] = _NOTHING,
) -> Loaded:
    """Return the settings of the configuration file; all defaults when there is none and none was named.

    `overrides` are the command line's values by path, as `parse` takes them. Raises `ConfigError` with
    every problem.
    """
    main = find(path, environ, home)
    disk = _Disk(main.parent, home)
    findings = Findings()
    environ = _with_dotenv(environ, state_dir(environ, home) / ".env", disk, findings)
    profiles = _profiles(state_dir(environ, home), disk, findings)
    named = path is not None or _path_from(environ, "OPENCLAW_CONFIG_PATH", home) is not None
    exists = named or _is_there(main)
    tree, files = _tree(main, disk, _roots(environ, home), findings) if exists else ({}, ())
    try:
        loaded = settle(
            tree,
            environ,
            source=str(main),
            overrides=overrides,
            read_secret_file=disk.secret_bytes,
            profiles=profiles,
        )
    except ConfigError as error:
        raise ConfigError(str(main), (*findings.problems, *error.problems)) from None
    if findings.problems:
        raise ConfigError(str(main), tuple(findings.problems))
    _say_who_else_may(disk, loaded.holds_secrets, findings)
    forget_types()  # a third of a megabyte, for months, until the file changes perhaps
    return replace(
        loaded,
        warnings=(*findings.warnings, *loaded.warnings),
        path=main if exists else None,
        files=files,
        watched=(main, *(file for file in files if file != main), state_dir(environ, home) / ".env"),
    )


def _tree(main: Path, disk: _Disk, roots: list[Path], findings: Findings) -> tuple[Any, tuple[Path, ...]]:
    tree = syntax.decode(disk.text(main), str(main))
    includes = Includes(main, roots=roots, read=disk.text, findings=findings)
    return includes.resolve(tree), (main, *includes.files)


def _is_there(path: Path) -> bool:
    """Tell whether something has this name, be it a dangling link or out of reach: then reading it fails."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _home(environ: Mapping[str, str], home: Path) -> Path:
    return _path_from(environ, "OPENCLAW_HOME", home) or home


def _path_from(environ: Mapping[str, str], name: str, home: Path) -> Path | None:
    text = environ.get(name, "").strip()
    return None if text in _UNSET else _expanded(text, home)


def _expanded(text: str, home: Path) -> Path:
    """Return the path with a leading `~` for `home`."""
    return home / text[1:].lstrip("/") if text == "~" or text.startswith("~/") else Path(text)


def _roots(environ: Mapping[str, str], home: Path) -> list[Path]:
    listed = environ.get("OPENCLAW_INCLUDE_ROOTS", "").split(os.pathsep)
    return [root for root in (_expanded(written, home) for written in listed) if root.is_absolute()]


def _with_dotenv(
    environ: Mapping[str, str], path: Path, disk: _Disk, findings: Findings
) -> Mapping[str, str]:
    """Return the environment with what `.env` adds where it lacks something."""
    if not _is_there(path):
        return environ
    try:
        added = dotenv.variables(disk.text(path))
    except ConfigError as error:
        findings.warn(str(path), f"is left out: {error.problems[0].message}")
        return environ
    return {**added, **{name: value for name, value in environ.items() if value or name not in added}}


def _profiles(state_dir: Path, disk: _Disk, findings: Findings) -> AuthProfiles:
    path = profiles_path(state_dir)
    if not _is_there(path):
        return AuthProfiles()
    try:
        return AuthProfiles(disk.text(path))
    except ConfigError as error:
        findings.warn(str(path), f"is left out: {error.problems[0].message}")
    except (ValueError, RecursionError):
        findings.warn(str(path), "is left out: it is not JSON as OpenClaw writes it")
    return AuthProfiles()


def _say_who_else_may(disk: _Disk, holds_secrets: bool, findings: Findings) -> None:
    for path, mode in disk.modes.items():
        secret = holds_secrets or path in disk.secret_files or path.name in {".env", auth_profiles.NAME}
        if secret and mode & (stat.S_IRGRP | stat.S_IROTH):
            findings.warn(str(path), f"holds secrets and others can read it; run: chmod 600 {path}")
        elif mode & (stat.S_IWGRP | stat.S_IWOTH):
            findings.warn(str(path), f"can be changed by others; run: chmod go-w {path}")


@dataclass
class _Disk:
    """Reads files, and remembers who else may read and change them."""

    folder: Path
    home: Path

    def __post_init__(self) -> None:
        self.modes: dict[Path, int] = {}
        self.secret_files: set[Path] = set()

    def text(self, path: Path) -> str:
        """Return the text of a configuration file; raises `ConfigError`."""
        try:
            return self._bytes(path).decode()
        except FileNotFoundError:
            problem = "there is no such file; name another one or create it with {} in it"
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        except UnicodeDecodeError as error:
            problem = f"is not UTF-8 text (byte {error.start})"
        raise ConfigError(str(path), (Problem("", problem),))

    def secret_bytes(self, written: str) -> bytes:
        """Return what is in a secrets file, whose path starts at `~` or at the configuration's folder."""
        path = self.folder / _expanded(written, self.home)
        self.secret_files.add(path)
        return self._bytes(path)

    def _bytes(self, path: Path) -> bytes:
        # opened without waiting: a pipe put in the file's place must not hold up the start
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        with open(os.open(path, flags), "rb") as opened:  # noqa: PTH123  (takes a descriptor)
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(None, "it is not a regular file")
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise OSError(None, f"it is larger than {MAX_FILE_BYTES} bytes")
        self.modes[path] = found.st_mode
        return content
