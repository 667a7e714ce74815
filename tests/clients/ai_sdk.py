"""Vercel's AI SDK: with its provider for servers that are compatible with OpenAI, and with OpenAI's own.

The latter asks for responses. Neither lists models.
"""

from __future__ import annotations

from tests.clients import in_node

__all__ = ["ChatTests", "ResponsesTests"]


class ChatTests(in_node.Tests):
    script = "ai_sdk.mjs"
    more = {"provider": "openai-compatible"}  # noqa: RUF012
    errors = {  # noqa: RUF012
        "a wrong key": "AI_APICallError 401",
        "an unknown model": "AI_APICallError 404",
        "a refusal": "AI_APICallError 400",
        "a long conversation": "AI_APICallError 400",
        "a rate limit": "AI_APICallError 429",
        "an overloaded provider": "AI_APICallError 503",
        "an unreachable provider": "AI_APICallError 502",
        "a silent provider": "AI_APICallError 504",
    }
    broken = "AI_StreamProviderError"


class ResponsesTests(ChatTests):
    more = {"provider": "openai"}  # noqa: RUF012
