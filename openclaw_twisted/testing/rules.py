"""What a configuration says about conversations, put together as the gateway does it."""

from __future__ import annotations

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.settings import Settings
from openclaw_twisted.providers.context_windows import ContextWindows
from openclaw_twisted.runs.opening import SessionRules

__all__ = ["rules_of"]


def rules_of(settings: Settings, directory: Directory) -> SessionRules:
    """Return the rules of a configuration."""
    return SessionRules(
        reset=settings.session.reset,
        triggers=settings.session.reset_triggers,
        context_tokens=ContextWindows(settings.models),
        params=lambda agent_id, model: directory.named(agent_id).params_for(model),
    )
