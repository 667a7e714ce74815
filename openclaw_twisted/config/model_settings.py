"""The `models` section: providers, their models, and the local model."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from openclaw_twisted.config.quantities import Count, CountOrNone, Seconds
from openclaw_twisted.config.secret import Secret

__all__ = [
    "EMBEDDING_KEY",
    "SPOKEN_APIS",
    "CompatSettings",
    "CostSettings",
    "LocalModelSettings",
    "ModelSettings",
    "ModelsSettings",
    "ProviderApi",
    "ProviderProxySettings",
    "ProviderRequestSettings",
    "ProviderSettings",
    "ProviderTlsSettings",
]


EMBEDDING_KEY = "models.embedding"

ProviderApi = Literal[
    "openai-completions",
    "openai-responses",
    "openai-chatgpt-responses",
    "openai-codex-responses",
    "azure-openai-responses",
    "anthropic-messages",
    "google-generative-ai",
    "google-vertex",
    "github-copilot",
    "bedrock-converse-stream",
    "ollama",
    "pi-messages",
]
"""The APIs that OpenClaw's files name."""

SPOKEN_APIS: Final[tuple[ProviderApi, ...]] = ("openai-completions", "anthropic-messages")
"""Those of them that models can be asked through."""


class CostSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a model costs, in dollars per million tokens."""

    input: Annotated[float, Meta(ge=0, description="Prompt tokens.")] = 0.0
    output: Annotated[float, Meta(ge=0, description="Completion tokens.")] = 0.0
    cache_read: Annotated[float, Meta(ge=0, description="Prompt tokens read from the provider's cache.")] = (
        0.0
    )
    cache_write: Annotated[
        float, Meta(ge=0, description="Prompt tokens written to the provider's cache.")
    ] = 0.0


class CompatSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a provider's API differs from OpenAI's; unset means as OpenAI does."""

    supports_developer_role: Annotated[
        bool | None,
        Meta(description="Whether it is told the system prompt in the role `developer`; unset is no."),
    ] = None
    supports_usage_in_streaming: Annotated[
        bool | None, Meta(description="Whether it may be asked for token counts in a stream.")
    ] = None
    supports_tools: Annotated[bool | None, Meta(description="Whether it takes tools.")] = None
    supports_strict_mode: Annotated[bool | None, Meta(description="Whether tools may be `strict`.")] = None
    supports_reasoning_effort: Annotated[
        bool | None, Meta(description="Whether it takes `reasoning_effort`.")
    ] = None
    supports_store: Annotated[
        bool | None, Meta(description="Whether it takes `store`, and is told not to; unset is no.")
    ] = None
    requires_string_content: Annotated[
        bool | None, Meta(description="Whether message content has to be text, never parts.")
    ] = None
    requires_mistral_tool_ids: Annotated[
        bool | None, Meta(description="Whether ids of tool calls have to be nine letters and digits.")
    ] = None
    requires_reasoning_content_on_assistant_messages: Annotated[
        bool | None,
        Meta(description="Whether earlier answers have to carry `reasoning_content`, if only empty."),
    ] = None
    requires_thought_signatures: Annotated[
        bool | None, Meta(description="Whether earlier tool calls have to carry a signature of Google's.")
    ] = None
    max_tokens_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None,
        Meta(description="What the token limit is called."),
    ] = None


class ModelSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """One model of a provider."""

    id: Annotated[str, Meta(min_length=1, description="The provider's name of the model.")]
    name: Annotated[str | None, Meta(description="Its name for people.")] = None
    api: Annotated[ProviderApi | None, Meta(description="Its API, where it differs from the provider's.")] = (
        None
    )
    base_url: Annotated[
        str | None, Meta(description="Its address, where it differs from the provider's.")
    ] = None
    reasoning: Annotated[bool, Meta(description="Whether it can reason before it answers.")] = False
    input: Annotated[
        tuple[Literal["text", "image", "audio", "video"], ...] | None,
        Meta(description="What it can be given: without `image`, requests with images are refused."),
    ] = None
    context_window: Annotated[Count | None, Meta(description="Tokens it can read and write together.")] = None
    context_tokens: Annotated[Count | None, Meta(description="Tokens of it to use.")] = None
    max_tokens: Annotated[Count | None, Meta(description="The most tokens of one answer.")] = None
    cost: Annotated[CostSettings, Meta(description="What it costs.")] = CostSettings()
    params: Annotated[
        dict[str, Any], Meta(description="Its sampling parameters.", extra={"sampling": True})
    ] = {}
    headers: Annotated[dict[str, Secret], Meta(description="Headers sent with its requests.")] = {}
    compat: Annotated[CompatSettings, Meta(description="Where its API differs from OpenAI's.")] = (
        CompatSettings()
    )
    max_concurrent: Annotated[Count | None, Meta(description="Its answers at a time; unset is no limit.")] = (
        None
    )
    max_queued: Annotated[
        CountOrNone, Meta(description="Requests that may wait for one of them; more are answered 503.")
    ] = 32


class ProviderProxySettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The proxy that a provider's requests go through, with CONNECT."""

    mode: Annotated[
        Literal["env-proxy", "explicit-proxy"],
        Meta(description="`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment, or `url`."),
    ]
    url: Annotated[
        Secret | None,
        Meta(description="The address of `explicit-proxy`, `http://[user:password@]host:port`."),
    ] = None


class ProviderTlsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whom TLS trusts at a provider's address; each PEM is a text, or the path of a file."""

    ca: Annotated[
        Secret | None, Meta(description="The authorities to trust, PEM; unset is those of this machine.")
    ] = None
    cert: Annotated[Secret | None, Meta(description="Our own certificate, PEM, where it is asked for.")] = (
        None
    )
    key: Annotated[Secret | None, Meta(description="The private key of `cert`, PEM.")] = None
    server_name: Annotated[
        str | None, Meta(description="The name that the server's certificate has, if it is not its address.")
    ] = None
    insecure_skip_verify: Annotated[
        bool, Meta(description="Has to be `false`: certificates are always verified.")
    ] = False


class ProviderRequestSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """How requests reach a provider."""

    headers: Annotated[dict[str, Secret], Meta(description="Headers sent with every request.")] = {}
    proxy: Annotated[
        ProviderProxySettings | None, Meta(description="The proxy they go through; unset is none.")
    ] = None
    tls: Annotated[ProviderTlsSettings, Meta(description="Whom TLS trusts.")] = ProviderTlsSettings()
    allow_private_network: Annotated[
        bool, Meta(description="Whether the address may be in a private network.")
    ] = False


class ProviderSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Somebody who runs models."""

    base_url: Annotated[
        str | None, Meta(description="Where its API is, up to and with `/v1`, if it has one.")
    ] = None
    api_key: Annotated[Secret | None, Meta(description="Its API key.")] = None
    api_keys: Annotated[
        tuple[Secret, ...],
        Meta(description="More keys; the next one is used while one is rate limited or refused."),
    ] = ()
    api: Annotated[ProviderApi, Meta(description="Which API it speaks.")] = "openai-completions"
    headers: Annotated[dict[str, Secret], Meta(description="Headers sent with every request.")] = {}
    auth_header: Annotated[
        bool | None,
        Meta(
            description="Whether the key is sent as `Authorization: Bearer`; "
            "unset is yes, but for `anthropic-messages`, where it is sent as `x-api-key`."
        ),
    ] = None
    timeout_seconds: Annotated[
        Seconds | None, Meta(description="How long one request may take in all; unset is without end.")
    ] = None
    connect_timeout_seconds: Annotated[Seconds, Meta(description="How long connecting may take.")] = 10.0
    first_byte_timeout_seconds: Annotated[
        Seconds | None,
        Meta(description="How long the answer may take to begin; unset is as `timeoutSeconds`, else 120."),
    ] = None
    idle_timeout_seconds: Annotated[
        Seconds | None,
        Meta(description="How long the answer may then pause; unset is as `timeoutSeconds`, else 120."),
    ] = None
    max_concurrent: Annotated[
        Count | None, Meta(description="Answers of all its models at a time; unset is no limit.")
    ] = None
    max_queued: Annotated[
        CountOrNone, Meta(description="Requests that may wait for one of them; more are answered 503.")
    ] = 32
    max_tokens: Annotated[
        Count | None, Meta(description="The most tokens of one answer, unless the model has its own limit.")
    ] = None
    params: Annotated[
        dict[str, Any],
        Meta(description="Sampling parameters of all its models.", extra={"sampling": True}),
    ] = {}
    models: Annotated[tuple[ModelSettings, ...], Meta(description="Its models.")] = ()
    request: Annotated[ProviderRequestSettings, Meta(description="How requests reach it.")] = (
        ProviderRequestSettings()
    )


class LocalModelSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """The model that runs on this machine, in a process of its own: `models.providers.local`."""

    model: Annotated[str, Meta(min_length=1, description="Which one; asked for as `local/<model>`.")] = (
        "qwen2.5-coder-0.5b"
    )
    path: Annotated[str | None, Meta(description="A GGUF file of your own, in place of a known model.")] = (
        None
    )
    context_tokens: Annotated[
        int, Meta(ge=256, description="Tokens of context for each answer at a time.")
    ] = 8192
    parallel: Annotated[Count, Meta(le=64, description="Answers at a time.")] = 2
    max_queued: Annotated[
        CountOrNone, Meta(description="Requests that may wait for one of them; more are answered 503.")
    ] = 32
    threads: Annotated[Count | None, Meta(description="Threads to compute on; unset is all cores.")] = None


class ModelsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where models come from."""

    mode: Annotated[
        Literal["merge", "replace"],
        Meta(
            description="`replace` offers the models listed here and no others, "
            "so the local one only if it is configured."
        ),
    ] = "merge"
    embedding: Annotated[
        str | None, Meta(description="The model of `/v1/embeddings`, `provider/model`; unset answers 501.")
    ] = None
    providers: Annotated[dict[str, ProviderSettings], Meta(description="The providers by id.")] = {}
    local: Annotated[LocalModelSettings, Meta(description="The model on this machine.")] = (
        LocalModelSettings()
    )
