"""The `agents` section: the agents and what they have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from openclaw_twisted.boundaries import Thinking
from openclaw_twisted.config.quantities import Count

__all__ = [
    "AgentDefaults",
    "AgentSettings",
    "AgentsSettings",
    "ContextInjection",
    "IdentitySettings",
    "ModelChoice",
    "ModelEntry",
    "ModelPolicy",
    "Thinking",
]

ContextInjection = Literal["always", "continuation-skip", "never"]


class ModelChoice(Struct, frozen=True, rename="camel"):
    """Which model answers: the first one, then those tried when it fails. Written as text or as an object."""

    primary: Annotated[str, Meta(description="The model, `provider/model`.")]
    fallbacks: Annotated[tuple[str, ...], Meta(description="The models tried after it, in order.")] = ()


class ModelEntry(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of one model, whichever agent uses it."""

    alias: Annotated[str | None, Meta(description="A short name for the model.")] = None
    params: Annotated[
        dict[str, Any], Meta(description="Sampling parameters of this model.", extra={"sampling": True})
    ] = {}
    streaming: Annotated[bool, Meta(description="Whether the model is asked to stream.")] = True


class ModelPolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which models callers may ask for."""

    allow: Annotated[
        tuple[str, ...],
        Meta(description="Models that `x-openclaw-model` may name; empty allows every configured one."),
    ] = ()


class IdentitySettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """How an agent presents itself."""

    name: Annotated[str | None, Meta(description="The name it goes by.")] = None
    theme: Annotated[str | None, Meta(description="Its manner, in a few words.")] = None
    emoji: Annotated[str | None, Meta(description="Its emoji.")] = None
    avatar: Annotated[
        str | None, Meta(description="Its picture: a path in the workspace, an address or a data URL.")
    ] = None


class AgentDefaults(Struct, frozen=True, kw_only=True, rename="camel"):
    """What every agent has unless it says otherwise."""

    model: Annotated[
        ModelChoice | None, Meta(description="The model, as text or `{primary, fallbacks}`.")
    ] = None
    models: Annotated[
        dict[str, ModelEntry], Meta(description="Alias and parameters by `provider/model`.")
    ] = {}
    model_policy: Annotated[ModelPolicy, Meta(description="Which models callers may ask for.")] = (
        ModelPolicy()
    )
    params: Annotated[
        dict[str, Any],
        Meta(description="Sampling parameters: `temperature`, `maxTokens`, ...", extra={"sampling": True}),
    ] = {}
    workspace: Annotated[
        str | None, Meta(description="The agents' folder; unset is `workspace` in the state directory.")
    ] = None
    system_prompt_override: Annotated[
        str | None, Meta(description="The system prompt, in place of the one made from the workspace.")
    ] = None
    timeout_seconds: Annotated[
        float, Meta(ge=0, description="How long one run may take in all; 0 is without end.")
    ] = 600.0
    max_concurrent: Annotated[
        Count | None,
        Meta(description="Runs at the same time, over all sessions; unset is without limit."),
    ] = None
    thinking_default: Annotated[
        Thinking | None, Meta(description="How hard models with `reasoning` think, unless asked otherwise.")
    ] = None
    skip_bootstrap: Annotated[bool, Meta(description="Do not create missing workspace files.")] = False
    context_injection: Annotated[
        ContextInjection,
        Meta(
            description="When the workspace's files are put into the system prompt; "
            "`continuation-skip` means `always`."
        ),
    ] = "always"
    bootstrap_max_chars: Annotated[Count, Meta(description="The most characters of one workspace file.")] = (
        20_000
    )
    bootstrap_total_max_chars: Annotated[
        Count, Meta(description="The most characters of all workspace files together.")
    ] = 60_000
    user_timezone: Annotated[
        str | None, Meta(description="The user's time zone; unset is this machine's.")
    ] = None


class AgentSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """One agent; what is unset comes from `agents.defaults`."""

    id: Annotated[str, Meta(description="Its name in model fields and session keys, lower case.")]
    default: Annotated[bool, Meta(description="Answer requests that name no agent.")] = False
    name: Annotated[str | None, Meta(description="Its name for people.")] = None
    description: Annotated[str | None, Meta(description="What it is for.")] = None
    workspace: Annotated[str | None, Meta(description="Its folder.")] = None
    model: Annotated[ModelChoice | None, Meta(description="Its model.")] = None
    models: Annotated[
        dict[str, ModelEntry], Meta(description="Alias and parameters by `provider/model`.")
    ] = {}
    model_policy: Annotated[ModelPolicy | None, Meta(description="Which models its callers may ask for.")] = (
        None
    )
    params: Annotated[
        dict[str, Any],
        Meta(description="Its sampling parameters, over the defaults.", extra={"sampling": True}),
    ] = {}
    system_prompt_override: Annotated[str | None, Meta(description="Its system prompt.")] = None
    identity: Annotated[IdentitySettings, Meta(description="How it presents itself.")] = IdentitySettings()
    thinking_default: Annotated[
        Thinking | None, Meta(description="How hard its model thinks, if it has `reasoning`.")
    ] = None
    context_injection: Annotated[
        ContextInjection | None,
        Meta(description="When its workspace's files are put into the system prompt."),
    ] = None
    bootstrap_max_chars: Annotated[
        Count | None, Meta(description="The most characters of one workspace file.")
    ] = None
    bootstrap_total_max_chars: Annotated[
        Count | None, Meta(description="The most characters of all workspace files together.")
    ] = None


class AgentsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The agents. `agents.list`, the older shape, is read into `entries` too."""

    defaults: Annotated[AgentDefaults, Meta(description="What every agent has unless it says otherwise.")] = (
        AgentDefaults()
    )
    entries: Annotated[dict[str, AgentSettings], Meta(description="The agents by id.")] = {}
