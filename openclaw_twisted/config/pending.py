"""Settings that are read and checked, but that this version does not act on yet, per struct.

Beside each key stands the value that holds whatever the file says, if one does: `gateway.reload.mode` is
`off` as long as nothing reloads. A file that asks for that value gets what it asks for; one that asks for
another hears about it. A key leaves this list in the change that gives it an effect, and with it its mark in
docs/reference/config.md; the tests hold all three together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

from openclaw_twisted.config import settings

__all__ = ["LABEL", "PENDING", "is_idle"]

LABEL: Final[Any] = object()
"""Holds for words that people write for people: nothing shows them yet, and nothing goes wrong without."""


def _keys(text: str) -> dict[str, Any]:
    return dict.fromkeys(text.split(), UNSET)


PENDING: Final[Mapping[type[Struct], Mapping[str, Any]]] = {
    settings.Settings: {"tools": settings.ToolsSettings()},
    settings.GatewaySettings: _keys("publicOrigin") | {"roles": {}},
    settings.AuthSettings: {"identityScopes": {}},
    settings.ControlUiSettings: _keys("basePath root") | {"enabled": False},
    settings.TlsSettings: _keys("caPath") | {"autoGenerate": False},
    settings.AgentDefaults: _keys("userTimezone") | {"skipBootstrap": True},
    settings.AgentSettings: {"description": LABEL},
    settings.ModelEntry: {"streaming": True},
    settings.ModelSettings: {"cost": settings.CostSettings()},
    settings.ProviderRequestSettings: {"allowPrivateNetwork": True},
    settings.StorageSettings: _keys("url"),
}


def is_idle(struct: type[Struct], key: str, value: object) -> bool:
    """Tell whether a file that gives a key this value asks for something that does not happen."""
    holds = PENDING.get(struct, {}).get(key, LABEL)
    return holds is not LABEL and bool(value != holds)
