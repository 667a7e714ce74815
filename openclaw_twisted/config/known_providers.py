"""The providers that everybody knows: a file need not say where they are, nor where their keys are.

OpenClaw's files name a model and leave the rest to the environment, and OpenClaw's names of both are meant:
https://docs.openclaw.ai/concepts/model-providers. A provider is added only when an agent names one of its
models, so that a key that is in the environment for something else opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from openclaw_twisted.config.auth_profiles import AuthProfiles
from openclaw_twisted.config.secret import Secret

__all__ = ["KNOWN", "Known", "supply"]


class Known(NamedTuple):
    """Where a provider is, the variables that may hold its key, and its API; no variable: it needs no key.

    `also` is another place of the same provider that the key may be for.
    """

    base_url: str
    variables: tuple[str, ...] = ()
    api: str = "openai-completions"
    also: str | None = None


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
    "minimax": Known(
        "https://api.minimax.io/anthropic", ("MINIMAX_API_KEY",), _ANTHROPIC, also="https://api.minimaxi.com"
    ),
    "mistral": Known("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    "moonshot": Known("https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",), also="https://api.moonshot.cn"),
    "nvidia": Known("https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",)),
    "ollama": Known("http://127.0.0.1:11434/v1"),
    "openai": Known("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "openrouter": Known("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "synthetic": Known("https://api.synthetic.new/anthropic", ("SYNTHETIC_API_KEY",), _ANTHROPIC),
    "together": Known("https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
    "venice": Known("https://api.venice.ai/api/v1", ("VENICE_API_KEY",)),
    "vercel-ai-gateway": Known("https://ai-gateway.vercel.sh/v1", ("AI_GATEWAY_API_KEY",)),
    "vllm": Known("http://127.0.0.1:8000/v1", ("VLLM_API_KEY",)),
    "xai": Known("https://api.x.ai/v1", ("XAI_API_KEY",)),
    "xiaomi": Known("https://api.xiaomimimo.com/v1", ("XIAOMI_API_KEY",)),
    "zai": Known(
        "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY", "Z_AI_API_KEY"), also="https://open.bigmodel.cn"
    ),
}

_VARIABLES: Final = frozenset(name for known in KNOWN.values() for name in known.variables)


def supply(tree: dict[str, Any], environ: Mapping[str, str], profiles: AuthProfiles) -> None:
    """Put known providers into the tree, as far as they are named there and their keys can be had.

    What the file says of a provider stays; an address that it lacks is filled in, and so is a key. Whatever
    has the wrong type is left for the builder to name.
    """
    models = tree.setdefault("models", {})
    providers = models.setdefault("providers", {}) if isinstance(models, dict) else None
    if not isinstance(providers, dict):
        return
    keys = partial(_keys, environ, profiles, _order(tree))
    for provider_id, given in providers.items():
        if isinstance(given, dict):
            _complete(given, provider_id, keys)
            _take_openai_door(given)
    if models.get("mode") == "replace":
        return
    names = (*_named(tree.get("agents")), *_texts([models.get("embedding")]))
    for provider_id in dict.fromkeys(name.partition("/")[0] for name in names):
        known = KNOWN.get(provider_id)
        if known is not None and provider_id not in providers:
            given = {}
            _complete(given, provider_id, keys)
            if "apiKey" in given or not known.variables:
                providers[provider_id] = given


def _complete(given: dict[str, Any], provider_id: str, keys: Callable[[str, object], Sequence[Any]]) -> None:
    written, known = given.get("apiKey"), KNOWN.get(provider_id)
    if isinstance(written, str) and written in _VARIABLES:  # OpenClaw looks up the bare name, too
        given["apiKey"] = f"${written}"
    if known is not None:
        if "baseUrl" not in given and not any("baseUrl" in each for each in _objects(given.get("models"))):
            given["baseUrl"] = known.base_url
        address = given.get("baseUrl")
        if isinstance(address, str) and address.rstrip("/") == known.base_url:
            given.setdefault("api", known.api)
    if not {"apiKey", "apiKeys"} & given.keys():
        first, *more = keys(provider_id, given.get("baseUrl")) or (None,)
        if first is not None:
            given["apiKey"] = first
        if more:
            given["apiKeys"] = more


def _keys(
    environ: Mapping[str, str],
    profiles: AuthProfiles,
    order: Mapping[str, Any],
    provider_id: str,
    address: object,
) -> Sequence[Any]:
    """Return a provider's keys: the environment's, which is for its own address alone, else its profiles'."""
    known = KNOWN.get(provider_id)
    if known is not None and isinstance(address, str):
        homes = [_origin(home) for home in (known.base_url, known.also) if home is not None]
        key = next(filter(None, (environ.get(name, "").strip() for name in known.variables)), None)
        if key is not None and _origin(address) in homes:
            return [Secret(key)]
    return profiles.keys(provider_id, order)


def _order(tree: dict[str, Any]) -> Mapping[str, Any]:
    auth = tree.get("auth")
    if isinstance(auth, dict) and auth.keys() <= {"order", "profiles"}:
        del tree["auth"]  # heeded, so nobody is told that there is no such part
    order = auth.get("order") if isinstance(auth, dict) else None
    return order if isinstance(order, dict) else {}


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
