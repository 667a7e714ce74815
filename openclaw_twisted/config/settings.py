"""Every setting as frozen structs with its default; attribute `max_tokens` is the key `maxTokens`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from openclaw_twisted.config.agent_settings import (
    AgentDefaults,
    AgentSettings,
    AgentsSettings,
    ContextInjection,
    IdentitySettings,
    ModelChoice,
    ModelEntry,
    ModelPolicy,
    Thinking,
)
from openclaw_twisted.config.gateway_settings import (
    AuthMode,
    AuthSettings,
    Bind,
    ChatCompletionsSettings,
    ControlUiSettings,
    EndpointsSettings,
    GatewaySettings,
    HttpSettings,
    ImagesSettings,
    LimitsSettings,
    RateLimitSettings,
    ReloadSettings,
    RemoteSettings,
    ResponsesSettings,
    SecurityHeadersSettings,
    ShutdownSettings,
    TlsSettings,
    TrustedProxySettings,
)
from openclaw_twisted.config.model_settings import (
    EMBEDDING_KEY,
    SPOKEN_APIS,
    CompatSettings,
    CostSettings,
    LocalModelSettings,
    ModelSettings,
    ModelsSettings,
    ProviderProxySettings,
    ProviderRequestSettings,
    ProviderSettings,
    ProviderTlsSettings,
)
from openclaw_twisted.config.quantities import Count, CountOrNone
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.secret_settings import SecretProviderSettings, SecretsSettings

__all__ = [
    "EMBEDDING_KEY",
    "SPOKEN_APIS",
    "AgentDefaults",
    "AgentSettings",
    "AgentsSettings",
    "AuthMode",
    "AuthSettings",
    "Bind",
    "ChatCompletionsSettings",
    "CompatSettings",
    "ContextInjection",
    "ControlUiSettings",
    "CostSettings",
    "EndpointsSettings",
    "EnvSettings",
    "GatewaySettings",
    "HttpSettings",
    "IdentitySettings",
    "ImagesSettings",
    "LimitsSettings",
    "LocalModelSettings",
    "LogLevel",
    "LoggingSettings",
    "MaintenanceSettings",
    "MetricsSettings",
    "ModelChoice",
    "ModelEntry",
    "ModelPolicy",
    "ModelSettings",
    "ModelsSettings",
    "ProviderProxySettings",
    "ProviderRequestSettings",
    "ProviderSettings",
    "ProviderTlsSettings",
    "ProxySettings",
    "RateLimitSettings",
    "ReloadSettings",
    "RemoteSettings",
    "ResetSettings",
    "ResponsesSettings",
    "Secret",
    "SecretProviderSettings",
    "SecretsSettings",
    "SecurityHeadersSettings",
    "SessionSettings",
    "Settings",
    "ShutdownSettings",
    "StorageSettings",
    "Thinking",
    "TlsSettings",
    "ToolsSettings",
    "TrustedProxySettings",
]

DAY_SECONDS = 86_400.0

LogLevel = Literal["silent", "fatal", "error", "warn", "info", "debug", "trace"]


class ResetSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """When a session starts afresh by itself."""

    mode: Annotated[
        Literal["none", "daily", "idle"], Meta(description="Never, once a day, or after a pause.")
    ] = "none"
    at_hour: Annotated[CountOrNone, Meta(le=23, description="The hour of `daily`, local time.")] = 4
    idle_minutes: Annotated[
        Count | None, Meta(description="The pause of `idle`; with `daily` it ends sessions, too.")
    ] = None


class MaintenanceSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """How old and how many sessions are kept."""

    mode: Annotated[
        Literal["enforce", "warn"], Meta(description="Delete what is too much, or only say so.")
    ] = "enforce"
    prune_after_seconds: Annotated[
        float,
        Meta(ge=0, description="Sessions unused for this long are deleted.", extra={"duration": "d"}),
    ] = field(default=30 * DAY_SECONDS, name="pruneAfter")
    max_entries: Annotated[Count, Meta(description="The most sessions that are kept.")] = 5000
    max_disk_bytes: Annotated[
        int, Meta(ge=1, description="The size of the database above which it is cut.", extra={"size": True})
    ] = 10 * 2**30
    high_water_bytes: Annotated[
        int | None,
        Meta(description="The size to which it is cut; unset is 80 % of the limit.", extra={"size": True}),
    ] = None
    reset_archive_retention_seconds: Annotated[
        float | Literal[False] | None,
        Meta(
            description="How long messages that a reset or a compaction took out are kept; `false` is for "
            "good, unset is as `pruneAfter`.",
            extra={"duration": "d"},
        ),
    ] = field(default=None, name="resetArchiveRetention")


class SessionSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """How conversations are kept."""

    stateless_retention_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="How long requests without a session are kept; 0 never stores them.",
            extra={"duration": None},
        ),
    ] = field(default=DAY_SECONDS, name="statelessRetention")
    reset: Annotated[ResetSettings, Meta(description="When a session starts afresh by itself.")] = (
        ResetSettings()
    )
    reset_triggers: Annotated[
        tuple[str, ...], Meta(description="Messages that start the session afresh.")
    ] = (
        "/new",
        "/reset",
    )
    maintenance: Annotated[
        MaintenanceSettings, Meta(description="How old and how many sessions are kept.")
    ] = MaintenanceSettings()


class ToolsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which tools agents may use."""

    profile: Annotated[
        Literal["minimal", "coding", "messaging", "full"] | None, Meta(description="A ready-made selection.")
    ] = None
    allow: Annotated[
        tuple[str, ...] | None, Meta(description="Only these: names, `group:` names, globs.")
    ] = None
    also_allow: Annotated[tuple[str, ...], Meta(description="These too, beside the profile.")] = ()
    deny: Annotated[tuple[str, ...], Meta(description="Never these; wins over everything.")] = ()


class EnvSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Environment variables from the file."""

    vars: Annotated[
        dict[str, Secret], Meta(description="Variables that count where the process environment lacks them.")
    ] = {}


class LoggingSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is logged, and where."""

    level: Annotated[
        LogLevel,
        Meta(description="The least important events in the log file."),
    ] = "info"
    file: Annotated[
        str | None, Meta(description="The log file; unset is a dated one in the state directory.")
    ] = None
    console_level: Annotated[
        LogLevel | None,
        Meta(description="The least important events on the terminal; unset is as `level`."),
    ] = None
    console_style: Annotated[
        Literal["pretty", "compact", "json"], Meta(description="How events look on the terminal.")
    ] = "pretty"
    max_file_bytes: Annotated[Count, Meta(description="The size at which the log file is rotated.")] = (
        104_857_600
    )


class MetricsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The numbers at `/metrics`."""

    public: Annotated[bool, Meta(description="Let this machine read `/metrics` without a secret.")] = False


class StorageSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where sessions are kept."""

    url: Annotated[
        Secret | None,
        Meta(description="The address of a database; unset is SQLite in the state directory."),
    ] = None


class ProxySettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """A forward proxy that everything on its way out has to pass."""

    proxy_url: Annotated[
        Secret | None, Meta(description="Its address, `http://[user:password@]host:port`.")
    ] = None
    enabled: Annotated[bool, Meta(description="Whether it is used.")] = True


class Settings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole configuration; `Settings()` is what holds without a file."""

    gateway: Annotated[GatewaySettings, Meta(description="The port and its limits.")] = GatewaySettings()
    agents: Annotated[AgentsSettings, Meta(description="The agents.")] = AgentsSettings()
    models: Annotated[ModelsSettings, Meta(description="Where models come from.")] = ModelsSettings()
    session: Annotated[SessionSettings, Meta(description="How conversations are kept.")] = SessionSettings()
    tools: Annotated[ToolsSettings, Meta(description="Which tools agents may use.")] = ToolsSettings()
    env: Annotated[EnvSettings, Meta(description="Environment variables.")] = EnvSettings()
    logging: Annotated[LoggingSettings, Meta(description="What is logged.")] = LoggingSettings()
    metrics: Annotated[MetricsSettings, Meta(description="The numbers at `/metrics`.")] = MetricsSettings()
    storage: Annotated[StorageSettings, Meta(description="Where sessions are kept.")] = StorageSettings()
    proxy: Annotated[ProxySettings, Meta(description="The way out.")] = ProxySettings()
    secrets: Annotated[SecretsSettings, Meta(description="Where secret references look.")] = SecretsSettings()
