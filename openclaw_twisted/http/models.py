"""GET /v1/models: the agents, as the models that OpenAI clients let their users choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.agents.target import find_model, known_model_ids
from openclaw_twisted.config.settings import ChatCompletionsSettings
from openclaw_twisted.http.endpoint import Call, Reply, json_reply

__all__ = ["ModelList", "ModelOut", "ModelsOut", "OneModel"]


class ModelOut(msgspec.Struct):
    """A model as OpenAI describes one."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "openclaw"
    permission: tuple[Any, ...] = ()


class ModelsOut(msgspec.Struct):
    """All models."""

    data: tuple[ModelOut, ...]
    object: Literal["list"] = "list"


@dataclass(frozen=True)
class ModelList:
    """Lists `openclaw`, `openclaw/default` and each `openclaw/<agentId>`."""

    directory: Directory

    async def __call__(self, call: Call) -> Reply:
        """Answer with the list."""
        return json_reply(ModelsOut(tuple(ModelOut(name) for name in known_model_ids(self.directory))))


@dataclass(frozen=True)
class OneModel:
    """Finds every name that a chat request may carry."""

    directory: Directory
    settings: ChatCompletionsSettings

    async def __call__(self, call: Call) -> Reply:
        """Answer with the model, its id as asked for; raises `AgentNotFoundError`."""
        name = call.arguments["id"]
        find_model(self.directory, name, self.settings.unknown_model)
        return json_reply(ModelOut(name))
