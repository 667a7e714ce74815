"""The agents that the settings define, each with everything it inherits, and the one that is the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openclaw_twisted.boundaries import Thinking
from openclaw_twisted.config.settings import (
    AgentDefaults,
    AgentSettings,
    AgentsSettings,
    ContextInjection,
    ModelChoice,
    ModelEntry,
    ModelPolicy,
)
from openclaw_twisted.errors import AgentNotFoundError

__all__ = ["MAIN", "MAX_LISTED", "Agent", "Directory", "PromptSettings", "shown"]

MAIN = "main"
MAX_LISTED = 20
_MAX_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """What an agent's system prompt is made from.

    `persona` is the name it was given, None when it was given none. The first of `workspaces` that is
    there is read.
    """

    override: str | None = None
    persona: str | None = None
    theme: str | None = None
    workspaces: tuple[Path, ...] = ()
    context_injection: ContextInjection = "always"
    max_chars_per_file: int = AgentDefaults().bootstrap_max_chars
    max_chars: int = AgentDefaults().bootstrap_total_max_chars


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent; `id` stands in model fields and session keys, `name`, `emoji` and `avatar` are for people.

    `models` holds alias and parameters by `provider/model`; `common_params` and `own_params` are the sampling
    parameters of all agents and of this one, `common_thinking` and `own_thinking` how hard they think.
    """

    id: str
    name: str
    model: ModelChoice | None = None
    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    model_policy: ModelPolicy = field(default_factory=ModelPolicy)
    common_params: Mapping[str, Any] = field(default_factory=dict)
    own_params: Mapping[str, Any] = field(default_factory=dict)
    common_thinking: Thinking | None = None
    own_thinking: Thinking | None = None
    prompt: PromptSettings = PromptSettings()
    emoji: str | None = None
    avatar: str | None = None

    def model_named(self, text: str) -> str:
        """Return the `provider/model` that an alias stands for, or the text itself."""
        for name, entry in self.models.items():
            if entry.alias is not None and entry.alias.lower() == text.lower():
                return name
        return text

    def candidates(self, override: str | None = None) -> tuple[str, ...]:
        """Return the models to try in order: the one asked for, else the agent's own and its fallbacks.

        Empty when no model is configured.
        """
        if override is not None:
            return (self.model_named(override),)
        if self.model is None:
            return ()
        return tuple(map(self.model_named, (self.model.primary, *self.model.fallbacks)))

    def params_for(self, model: str) -> dict[str, Any]:
        """Return the sampling parameters for a model: everyone's, then the model's, then the agent's own.

        How hard it thinks stands as OpenClaw has it: the agent's own default comes before all of them, the
        common one after.
        """
        entry = self.models.get(model)
        return {
            **_thinking(self.common_thinking),
            **self.common_params,
            **(entry.params if entry else {}),
            **self.own_params,
            **_thinking(self.own_thinking),
        }


class Directory:
    """Every agent there is; without any in the settings that is one, called `main`."""

    def __init__(self, settings: AgentsSettings, *, state_dir: Path, home: Path) -> None:
        """Workspaces default to folders of `state_dir`; `~` in configured ones is `home`."""
        entries = {name.strip().lower(): entry for name, entry in settings.entries.items()}
        entries = entries or {MAIN: AgentSettings(id=MAIN)}
        default = _default_id(entries)
        places = _Workspaces(settings.defaults.workspace, state_dir, home)
        self._agents: dict[str, Agent] = {}
        for name, entry in entries.items():
            folders = places.of(name, entry.workspace, alone=len(entries) == 1, default=name == default)
            self._agents[name] = _inherit(name, entry, settings.defaults, folders)
        self.default = self._agents[default]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all agents, in the order of the settings."""
        return tuple(self._agents)

    def get(self, agent_id: str) -> Agent | None:
        """Return the agent with this id, in any case, or None."""
        return self._agents.get(agent_id.strip().lower())

    def named(self, agent_id: str, *, param: str | None = None) -> Agent:
        """Return the agent with this id, in any case.

        Raises `AgentNotFoundError`, which lists the known ones; `param` is the request field to blame.
        """
        agent = self.get(agent_id)
        if agent is None:
            raise AgentNotFoundError(
                f'There is no agent "{shown(agent_id)}". The agents are: {self.listing()}.', param=param
            )
        return agent

    def listing(self) -> str:
        """Name the agents in a sentence, the first twenty of them."""
        more = len(self._agents) - MAX_LISTED
        return ", ".join(self.ids[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def shown(text: str) -> str:
    """Return a caller's text as an error message may repeat it: short, and on one line."""
    clean = "".join(character if character.isprintable() else "?" for character in text[:_MAX_SHOWN_CHARS])
    return clean if len(text) <= _MAX_SHOWN_CHARS else f"{clean}..."


def _thinking(level: Thinking | None) -> dict[str, Any]:
    return {} if level is None else {"thinking": level}


def _default_id(entries: Mapping[str, AgentSettings]) -> str:
    for name, entry in entries.items():
        if entry.default:
            return name
    return MAIN if MAIN in entries else next(iter(entries))


def _inherit(name: str, entry: AgentSettings, common: AgentDefaults, folders: tuple[Path, ...]) -> Agent:
    persona = entry.identity.name or entry.name
    return Agent(
        id=name,
        name=persona or name,
        model=entry.model or common.model,
        models={**common.models, **entry.models},
        model_policy=entry.model_policy or common.model_policy,
        common_params=common.params,
        own_params=entry.params,
        common_thinking=common.thinking_default,
        own_thinking=entry.thinking_default,
        prompt=PromptSettings(
            override=entry.system_prompt_override or common.system_prompt_override,
            persona=persona,
            theme=entry.identity.theme,
            workspaces=folders,
            context_injection=entry.context_injection or common.context_injection,
            max_chars_per_file=entry.bootstrap_max_chars or common.bootstrap_max_chars,
            max_chars=entry.bootstrap_total_max_chars or common.bootstrap_total_max_chars,
        ),
        emoji=entry.identity.emoji,
        avatar=entry.identity.avatar,
    )


class _Workspaces:
    """Where OpenClaw keeps an agent's files.

    https://docs.openclaw.ai/concepts/agent-workspace: a sole agent has the common folder to itself, several
    have one each. Up to 2026.6 the default one of several had the common folder, and the others had theirs in
    the state directory: they still find them there.
    """

    def __init__(self, common: str | None, state_dir: Path, home: Path) -> None:
        self._home = home
        self._state_dir = state_dir
        self._common = self._path(common) if common else None

    def of(self, name: str, own: str | None, *, alone: bool, default: bool) -> tuple[Path, ...]:
        if own:
            return (self._path(own),)
        shared = self._common or self._state_dir / "workspace"
        if alone:
            return (shared,)
        apart = self._state_dir / f"workspace-{name}"
        mine = self._common / name if self._common else apart
        before = shared if default else apart
        return (mine, before) if before != mine else (mine,)

    def _path(self, text: str) -> Path:
        if text == "~" or text.startswith("~/"):
            return self._home / text[2:]
        return Path(text)
