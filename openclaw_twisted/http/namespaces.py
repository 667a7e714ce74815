"""Functions in namespaces, which models are offered by one name each.

Codex sends what belongs together (the tools of an MCP server, those for agents of its own) as one tool of the
type `namespace`. Chat completions, which is how providers are asked, know functions only.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from hashlib import sha256

__all__ = ["MAX_FUNCTION_NAME", "name_within"]

MAX_FUNCTION_NAME = 64
"""How long a function's name may be, in characters, for OpenAI and most who do as it does."""

DIGEST_CHARACTERS = 8


def name_within(namespace: str, name: str) -> str:
    """Return the one name of a function in a namespace; always the same, and short enough."""
    whole = f"{namespace}__{name}"
    if len(whole) <= MAX_FUNCTION_NAME:
        return whole
    digest = sha256(whole.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{whole[: MAX_FUNCTION_NAME - DIGEST_CHARACTERS - 1]}_{digest}"
