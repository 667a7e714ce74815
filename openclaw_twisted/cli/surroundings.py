"""What a command finds around it: the process's environment, the user's home, the state directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openclaw_twisted.config.parse import Loaded

__all__ = ["Surroundings"]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The environment and the home directory that a command works in."""

    environ: Mapping[str, str]
    home: Path

    @classmethod
    def of_this_process(cls) -> Surroundings:
        """Return the surroundings of the process; the commands are the only place that asks for them."""
        from openclaw_twisted.config.file import own_home

        return cls(environ=os.environ, home=own_home())  # noqa: TID251 - an entry point

    @property
    def state_dir(self) -> Path:
        """The folder for everything that the gateway keeps."""
        from openclaw_twisted.config.file import state_dir

        return state_dir(self.environ, self.home)

    def config_path(self, path: Path | None) -> Path:
        """Return where the configuration file is or would be; `path` is the one that the user named."""
        from openclaw_twisted.config.file import find

        return find(path, self.environ, self.home)

    def load(self, path: Path | None) -> Loaded:
        """Return the configuration; raises `ConfigError` with every problem."""
        from openclaw_twisted.config.file import load

        return load(path, self.environ, self.home)
