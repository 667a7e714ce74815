"""The `secrets` section: the files that secret references point into."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["SecretProviderSettings", "SecretsSettings"]


class SecretProviderSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """One place that secrets are read from."""

    source: Annotated[
        Literal["env", "file", "exec", "store"],
        Meta(description="The environment or a file; `exec` and `store` are not supported."),
    ]
    path: Annotated[str | None, Meta(description="The file.")] = None
    mode: Annotated[
        Literal["json", "singleValue"],
        Meta(description="Whether it holds JSON, or one secret and nothing else."),
    ] = "json"


class SecretsSettings(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where secret references `{source, provider, id}` look."""

    providers: Annotated[dict[str, SecretProviderSettings], Meta(description="The places by name.")] = {}
    defaults: Annotated[
        dict[str, str], Meta(description="The place for each source, where a reference names none.")
    ] = {}
