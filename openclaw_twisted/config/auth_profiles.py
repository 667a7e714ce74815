"""The API keys among OpenClaw's authentication profiles, the file in which its setup keeps them.

Up to the summer of 2026 that is `agents/main/agent/auth-profiles.json` in the state directory; later versions
have a database. Tokens and OAuth logins, which have to be renewed, are OpenClaw's own.
https://docs.openclaw.ai/gateway/authentication
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from openclaw_twisted.config.secret import Secret

__all__ = ["NAME", "AuthProfiles", "profiles_path"]

NAME: Final = "auth-profiles.json"


def profiles_path(state_dir: Path) -> Path:
    """Return where the profiles are that all agents share."""
    return state_dir / "agents" / "main" / "agent" / NAME


class AuthProfiles:
    """The API keys by provider."""

    def __init__(self, text: str = "{}") -> None:
        """Read the file's text; raises ValueError if it is no JSON object."""
        store = json.loads(text)
        if not isinstance(store, dict):
            raise ValueError("is no object")  # noqa: TRY004 - what is wrong with a text is its value
        self._profiles = _object(store, "profiles")
        self._order = _object(store, "order")

    def keys(self, provider_id: str, order: Mapping[str, Any]) -> Sequence[Any]:
        """Return a provider's keys, or references to them, in the order that is to hold for it, if any.

        `order` is `auth.order` of the configuration, which the file's own order comes before.
        """
        listed = self._order.get(provider_id, order.get(provider_id))
        names = listed if isinstance(listed, list) else [*self._profiles]
        keys = (_key(self._profiles.get(name), provider_id) for name in names if isinstance(name, str))
        return [key for key in keys if key is not None]


def _key(profile: object, provider_id: str) -> Secret | dict[str, Any] | None:
    """Return the key in a profile; None for another provider's, and for one of another kind."""
    if not isinstance(profile, dict) or (profile.get("type"), profile.get("provider")) != (
        "api_key",
        provider_id,
    ):
        return None
    key, reference = profile.get("key"), profile.get("keyRef")
    if isinstance(key, str) and key.strip():
        return Secret(key.strip())
    return reference if isinstance(reference, dict) else None


def _object(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, dict) else {}
