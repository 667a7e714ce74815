"""The providers that everybody knows: a file need not say where they are, nor where their keys are.

OpenClaw's files name a model and leave the rest to the environment, and OpenClaw's names of both are meant:
https://docs.openclaw.ai/concepts/model-providers. A provider is added only when an agent names one of its
models, so that a key that is in the environment for something else opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from openclaw_twisted.config.secret import Secret

__all__ = ["KNOWN", "Known", "supply"]


class Known(NamedTuple):
    """Where a provider is, the variables that may hold its key, and its API; no variable: it needs no key."""

    base_url: str
    variables: tuple[str, ...] = ()
    api: str = "openai-completions"


_ANTHROPIC: Final = "anthropic-messages"

KNOWN: Final[Mapping[str, Known]] = {
    "anthropic": Known("https://api.anthropic.com", ("ANTHROPIC_API_KEY",), _ANTHROPIC),
    "cerebras": Known("https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    "deepinfra": Known("https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY",)),
    "deepseek": Known("https://api.deepseek.com", ("DEEPSEEK_API_KEY",)),
    "fireworks": Known("https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
    "google": Known(
        "https://generativelanguage.googleapis.com/v1beta/openai", ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    ),
    "groq": Known("https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    "huggingface": Known("https://router.huggingface.co/v1", ("HUGGINGFACE_HUB_TOKEN", "HF_TOKEN")),
    "kilocode": Known("https://api.kilo.ai/api/gateway", ("KILOCODE_API_KEY",)),
    "kimi": Known("https://api.kimi.com/coding", ("KIMI_API_KEY", "KIMICODE_API_KEY"), _ANTHROPIC),
    "kimi-coding": Known("https://api.kimi.com/coding", ("KIMI_API_KEY", "KIMICODE_API_KEY"), _ANTHROPIC),
    "lmstudio": Known("http://127.0.0.1:1234/v1"),
    "minimax": Known("https://api.minimax.io/anthropic", ("MINIMAX_API_KEY",), _ANTHROPIC),
    "mistral": Known("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    "moonshot": Known("https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",)),
    "nvidia": Known("https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",)),
    "ollama": Known("http://127.0.0.1:11434/v1"),
    "openai": Known("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "openrouter": Known("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "synthetic": Known("https://api.synthetic.new/anthropic", ("SYNTHETIC_API_KEY",), _ANTHROPIC),
    "together": Known("https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
    "venice": Known("https://api.venice.ai/api/v1", ("VENICE_API_KEY",)),
    "vllm": Known("http://127.0.0.1:8000/v1", ("VLLM_API_KEY",)),
    "xai": Known("https://api.x.ai/v1", ("XAI_API_KEY",)),
    "xiaomi": Known("https://api.xiaomimimo.com/v1", ("XIAOMI_API_KEY",)),
    "zai": Known("https://api.z.ai/api/paas/v4", ("ZAI_API_KEY", "Z_AI_API_KEY")),
}

_VARIABLES: Final = frozenset(name for known in KNOWN.values() for name in known.variables)


def supply(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put known providers into the tree, as far as they are named there and their keys can be had.

    What the file says of a provider stays; an address that it lacks is filled in, and so is a key for that
    address. Whatever has the wrong type is left for the builder to name.
    """
    models = tree.setdefault("models", {})
    providers = models.setdefault("providers", {}) if isinstance(models, dict) else None
    if not isinstance(providers, dict):
        return
    for provider_id, given in providers.items():
        if isinstance(given, dict):
            _complete(given, KNOWN.get(provider_id), environ)
            _take_openai_door(given)
    if models.get("mode") == "replace":
        return
    for provider_id in {name.partition("/")[0]: None for name in _named(tree.get("agents"))}:
        known = KNOWN.get(provider_id)
        if known is not None and provider_id not in providers:
            key = _key(known, environ)
            if key is not None or not known.variables:
                providers[provider_id] = {
                    "baseUrl": known.base_url,
                    "api": known.api,
                    **({} if key is None else {"apiKey": key}),
                }


def _complete(given: dict[str, Any], known: Known | None, environ: Mapping[str, str]) -> None:
    written = given.get("apiKey")
    if (
        isinstance(written, str) and written in _VARIABLES
    ):  # the variable's name, which OpenClaw looks up, too
        given["apiKey"] = f"${written}"
    if known is None:
        return
    if "baseUrl" not in given and not any("baseUrl" in model for model in _objects(given.get("models"))):
        given["baseUrl"] = known.base_url
    address = given.get("baseUrl")
    if not isinstance(address, str):
        return
    if address.rstrip("/") == known.base_url:
        given.setdefault("api", known.api)
    key = _key(known, environ)
    if (
        key is not None
        and not {"apiKey", "apiKeys"} & given.keys()
        and _origin(address) == _origin(known.base_url)
    ):
        given["apiKey"] = key


def _take_openai_door(given: dict[str, Any]) -> None:
    """Have models be asked through OpenAI's API where their own is not spoken and the provider has both."""
    api, address = given.get("api"), given.get("baseUrl")
    for model in _objects(given.get("models")):
        if {"api", "baseUrl"} & model.keys():
            _through_door(model, model.get("api", api), model.get("baseUrl", address))
    _through_door(given, api, address)


def _through_door(given: dict[str, Any], api: object, address: object) -> None:
    if not isinstance(address, str):
        return
    if api == "ollama":
        door = f"{address.rstrip('/').removesuffix('/v1').removesuffix('/api')}/v1"
    elif api == "google-generative-ai" and _origin(address) == _origin(KNOWN["google"].base_url):
        door = KNOWN["google"].base_url
    elif api == "openai-responses":  # who has it has the older one too, for the same models
        door = address
    else:
        return
    given["api"], given["baseUrl"] = "openai-completions", door


def _origin(address: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    return parts.scheme, parts.hostname, port


def _key(known: Known, environ: Mapping[str, str]) -> Secret | None:
    given = (environ.get(name, "").strip() for name in known.variables)
    return next((Secret(key) for key in given if key), None)


def _named(agents: object) -> Iterator[str]:
    """Yield the models that the plain `agents` section names: the agents' own, and those with an alias."""
    if not isinstance(agents, dict):
        return
    entries = agents.get("entries")
    for agent in (agents.get("defaults"), *(entries.values() if isinstance(entries, dict) else ())):
        if not isinstance(agent, dict):
            continue
        model, listed = agent.get("model"), agent.get("models")
        if isinstance(model, dict):
            fallbacks = model.get("fallbacks")
            yield from _texts([model.get("primary"), *(fallbacks if isinstance(fallbacks, list) else [])])
        yield from _texts([model, *(listed if isinstance(listed, dict) else [])])


def _objects(listed: object) -> Iterator[dict[str, Any]]:
    yield from (item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict))


def _texts(values: list[Any]) -> Iterator[str]:
    yield from (value for value in values if isinstance(value, str))
