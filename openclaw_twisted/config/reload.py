"""What a changed configuration means for a gateway that runs: a table of what only a restart can change.

Everything else takes effect at once, for what begins from then on. What needs a restart keeps its old value
until then, and whoever changed it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct, structs

from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.errors import ConfigError, Problem

__all__ = ["NEEDS_RESTART", "Change", "change", "must_still_be_there"]

NEEDS_RESTART: Final = (
    "gateway.mode",
    "gateway.port",
    "gateway.bind",
    "gateway.customBindHost",
    "gateway.tls",
    "gateway.limits",
    "models.local",
    "storage",
    "env",
)
"""The port, its connections and the store are open, and the local model's process has its settings."""

_AUTH: Final = "gateway.auth"
_MODE: Final = "gateway.auth.mode"


class Change(Struct, frozen=True, kw_only=True):
    """The settings to go on with, the keys that change with them, and those that wait for a restart."""

    settings: Settings
    applied: tuple[str, ...]
    waiting: tuple[str, ...]


def change(old: Settings, new: Settings) -> Change:
    """Return what `new` changes about a gateway that runs with `old`."""
    going_on = new
    waiting: list[str] = []
    for path in NEEDS_RESTART:
        kept = _value(old, path)
        if _value(new, path) != kept:
            waiting.extend(_differences(kept, _value(new, path), _as_written(path)))
            going_on = _with(going_on, path, kept)
    if new.gateway.auth.resolved_mode != old.gateway.auth.resolved_mode:
        # All of it or nothing: the new secret in the old mode might be no protection at all.
        waiting.append(_MODE)
        going_on = _with(going_on, _AUTH, old.gateway.auth)
    return Change(settings=going_on, applied=tuple(_differences(old, going_on, "")), waiting=tuple(waiting))


def must_still_be_there(before: Loaded, after: Loaded) -> None:
    """Refuse the defaults in place of a file that has gone: somebody renames it, or it comes back soon.

    Raises `ConfigError`.
    """
    if before.path is not None and after.path is None:
        gone = "is gone; what it said holds until it is back, or until the next start"
        raise ConfigError(str(before.path), (Problem(str(before.path), gone),))


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield the paths, as the file has them, at which two values of one type differ."""
    if old == new:
        return
    if isinstance(old, Struct) and type(old) is type(new):
        names = zip(old.__struct_fields__, old.__struct_encode_fields__, strict=True)
        children = [(encoded, getattr(old, name), getattr(new, name)) for name, encoded in names]
    elif isinstance(old, dict) and isinstance(new, dict):
        children = [(key, old.get(key), new.get(key)) for key in sorted({*old, *new})]
    else:
        yield path
        return
    for name, before, after in children:
        yield from _differences(before, after, f"{path}.{name}" if path else name)


def _as_written(path: str) -> str:
    # In a file the local model's settings stand among those of the providers.
    return "models.providers.local" if path == "models.local" else path


def _value(settings: Struct, path: str) -> Any:
    for name in path.split("."):
        settings = getattr(settings, _field(settings, name))
    return settings


def _with(settings: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    field = _field(settings, name)
    inner = _with(getattr(settings, field), rest, value) if rest else value
    return structs.replace(settings, **{field: inner})


def _field(settings: Struct, encoded: str) -> str:
    return settings.__struct_fields__[settings.__struct_encode_fields__.index(encoded)]
