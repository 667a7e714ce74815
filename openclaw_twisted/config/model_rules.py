"""What is told of agents' models before one is asked: those nobody answers for, those that do not think."""

from __future__ import annotations

from collections.abc import Mapping

from openclaw_twisted.config.findings import Findings, at
from openclaw_twisted.config.known_providers import KNOWN
from openclaw_twisted.config.settings import (
    SPOKEN_APIS,
    AgentDefaults,
    AgentSettings,
    ModelEntry,
    Settings,
)

__all__ = ["models_that_answer", "thinking_that_counts"]


def models_that_answer(settings: Settings, findings: Findings) -> None:
    """Warn about agents that name models nobody can be asked for: the file may be one for OpenClaw."""
    defaults = settings.agents.defaults
    choices = {"agents.defaults.model": (defaults.model, defaults.models)}
    for agent in settings.agents.entries.values():
        models = {**defaults.models, **agent.models}
        choices[f"{at('agents.entries', agent.id)}.model"] = (agent.model, models)
    told: set[str] = set()
    for path, (choice, models) in choices.items():
        aliases = _aliases(models)
        for written in (choice.primary, *choice.fallbacks) if choice is not None else ():
            name = aliases.get(written.lower(), written)
            why = None if name in told else _why_silent(name, settings)
            if why is not None:
                findings.warn(path, f'"{name}" cannot be asked: {why}')
                told.add(name)


def thinking_that_counts(settings: Settings, findings: Findings) -> None:
    """Warn about a level of thinking for a model that the file does not list, so that nobody tells it."""
    defaults, told = settings.agents.defaults, set[str]()
    agents: dict[str, AgentDefaults | AgentSettings] = {"agents.defaults": defaults}
    if settings.agents.entries:
        agents = {at("agents.entries", agent.id): agent for agent in settings.agents.entries.values()}
    for path, agent in agents.items():
        level = agent.thinking_default or defaults.thinking_default
        choice, models = agent.model or defaults.model, {**defaults.models, **agent.models}
        if choice is None or level in {None, "off"}:
            continue
        name = _aliases(models).get(choice.primary.lower(), choice.primary)
        provider_id, _, model_id = name.partition("/")
        provider = settings.models.providers.get(provider_id)
        if provider is None or name in told or any(model.id == model_id for model in provider.models):
            continue
        told.add(name)
        findings.warn(
            f"{path if agent.thinking_default else 'agents.defaults'}.thinkingDefault",
            f'has no effect on "{name}": list it in {at("models.providers", provider_id)}.models '
            "with reasoning: true",
        )


def _aliases(models: Mapping[str, ModelEntry]) -> dict[str, str]:
    return {entry.alias.lower(): name for name, entry in models.items() if entry.alias}


def _why_silent(name: str, settings: Settings) -> str | None:
    """Return what keeps a model from being asked, None when nothing that the settings tell does."""
    models = settings.models
    provider_id, slash, model_id = name.partition("/")
    if not slash:
        return 'write it as "provider/model"'
    if provider_id == "local":
        return None
    provider, key = models.providers.get(provider_id), at("models.providers", provider_id)
    if provider is None:
        known = KNOWN.get(provider_id)
        if known is None or not known.variables or models.mode == "replace":
            return f"there is no {key}"
        return f"set {known.variables[0]}, or {key}.apiKey; logins of OpenClaw's are not used"
    listed = next((model for model in provider.models if model.id == model_id), None)
    api = (listed.api if listed is not None else None) or provider.api
    return None if api in SPOKEN_APIS else f'"{api}" is an API that this version does not speak'
