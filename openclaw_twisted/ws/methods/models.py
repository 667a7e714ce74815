"""`models.list`: every model that can be asked for, as `provider/id`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.settings import ModelSettings, Settings
from openclaw_twisted.ws.method import Answer, Call, Method
from openclaw_twisted.ws.params import invalid
from openclaw_twisted.ws.since import Since4

__all__ = ["ModelsParams", "models_methods"]

METHOD = "models.list"


class ModelsParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Whose models, and of which provider; there is one list for everybody, and all that is known is told."""

    agent_id: str | None = None
    provider: str | None = None
    include_details: bool = False
    include_provider_capabilities: bool = False
    prepared_only: bool = False
    refresh: bool = False
    view: Literal["default", "configured", "provider-config", "all"] = "default"
    auth_profile_id: Raw = Raw()
    include_default_models: Raw = Raw()
    runtime: Raw = Raw()
    session_key: Raw = Raw()


class ListedModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """One model; protocol 4 also hears its alias, what it can be given, and whether it answers now."""

    id: str
    name: str
    provider: str
    context_window: int | UnsetType = UNSET
    reasoning: bool | UnsetType = UNSET
    alias: Since4[str] = UNSET
    available: Since4[bool] = UNSET
    input: Since4[tuple[str, ...]] = UNSET


class Models(Struct, frozen=True):
    """All of them."""

    models: tuple[ListedModel, ...]


def models_methods(
    directory: Directory, settings: Settings, can_answer: Callable[[str], bool]
) -> tuple[Method[Any], ...]:
    """Return the methods of this family; `can_answer` tells whether a model can be asked now."""
    configured = dict(_configured(settings))
    names = dict.fromkeys((*configured, *_used(directory)))

    async def models(call: Call, params: ModelsParams) -> Answer[Models]:
        if params.agent_id is not None and directory.get(params.agent_id) is None:
            raise invalid(METHOD, f"unknown agent id. The agents are: {directory.listing()}.")
        new = call.client.speaks_4
        listed = (_model(name, configured.get(name)) for name in names)
        wanted = (each for each in listed if params.provider in {None, each.provider})
        return Answer(Models(tuple(_with_state(each) if new else each for each in wanted)))

    def _with_state(model: ListedModel) -> ListedModel:
        name = f"{model.provider}/{model.id}"
        entry, known = directory.default.models.get(name), configured.get(name)
        return ListedModel(
            id=model.id,
            name=model.name,
            provider=model.provider,
            context_window=model.context_window,
            reasoning=model.reasoning,
            alias=entry.alias if entry is not None and entry.alias else UNSET,
            available=can_answer(name),
            input=(known.input or UNSET) if known is not None else UNSET,
        )

    return (Method(METHOD, ModelsParams, models),)


def _configured(settings: Settings) -> Iterator[tuple[str, ModelSettings]]:
    for provider_id, provider in settings.models.providers.items():
        for model in provider.models:
            yield f"{provider_id}/{model.id}", model


def _used(directory: Directory) -> Iterator[str]:
    """Yield the models that agents ask, or may be told to ask."""
    for agent_id in directory.ids:
        agent = directory.named(agent_id)
        yield from (name for name in (*agent.candidates(), *agent.models) if "/" in name and "*" not in name)


def _model(name: str, known: ModelSettings | None) -> ListedModel:
    provider, _, model_id = name.partition("/")
    if known is None:
        return ListedModel(id=model_id, name=model_id, provider=provider)
    return ListedModel(
        id=model_id,
        name=known.name or model_id,
        provider=provider,
        context_window=known.context_window or UNSET,
        reasoning=known.reasoning,
    )
