"""`litellm` as a client, with chat completions."""

from __future__ import annotations

import json
import time
from typing import Any

import litellm

from tests.clients import contract
from tests.clients.contract import ANYBODY, OPENAI_ERRORS, Asking, Reply, Temperature, weather

__all__ = ["ChatTests"]

litellm.suppress_debug_info = True

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class ChatTests(contract.ListsModels):
    errors = OPENAI_ERRORS | {
        "a long conversation": "ContextWindowExceededError",
        "an overloaded provider": "ServiceUnavailableError",
        "an unreachable provider": "BadGatewayError",
        "a silent provider": "Timeout",
    }
    broken = "MidStreamFallbackError"

    def completion(self, messages: list[Any], asking: Asking = ANYBODY, **more: Any) -> Any:
        return litellm.completion(
            model=f"openai/{asking.model}",
            api_base=self.stage.base_url,
            api_key=asking.key,
            max_retries=asking.retries,
            extra_headers=asking.headers,
            # Of its own parameter `user` it thinks that only OpenAI's models know it.
            extra_body={"user": asking.user} if asking.user else None,
            messages=messages,
            timeout=20,
            **more,
        )

    def models(self) -> list[str]:
        return list(
            litellm.get_valid_models(
                check_provider_endpoint=True,
                custom_llm_provider="openai",
                api_base=self.stage.base_url,
                api_key=ANYBODY.key,
            )
        )

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        answer = self.completion([{"role": "user", "content": prompt}], asking)
        counts = answer.usage
        return Reply(
            answer.choices[0].message.content, tokens=(counts.prompt_tokens, counts.completion_tokens)
        )

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        pieces, counts = [], None
        for chunk in self.completion(
            [{"role": "user", "content": prompt}],
            asking,
            stream=True,
            stream_options={"include_usage": True},
        ):
            pieces += [choice.delta.content or "" for choice in chunk.choices]
            counts = getattr(chunk, "usage", None) or counts
        assert counts is not None
        return Reply(
            "".join(pieces), pieces=tuple(pieces), tokens=(counts.prompt_tokens, counts.completion_tokens)
        )

    def loop(self, prompt: str, *, streamed: bool) -> str:
        messages: list[Any] = [{"role": "user", "content": prompt}]
        while True:
            answer = self.completion(messages, tools=[WEATHER], stream=streamed)
            if streamed:
                answer = litellm.stream_chunk_builder(list(answer))
            message = answer.choices[0].message
            if not message.tool_calls:
                return str(message.content)
            messages.append(message)
            for call in message.tool_calls:
                result = weather(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    def forced(self, prompt: str) -> tuple[str, Any]:
        demanded = {"type": "function", "function": {"name": "weather"}}
        answer = self.completion([{"role": "user", "content": prompt}], tools=[WEATHER], tool_choice=demanded)
        (call,) = answer.choices[0].message.tool_calls
        return call.function.name, json.loads(call.function.arguments)

    def structured(self, prompt: str) -> Any:
        answer = self.completion([{"role": "user", "content": prompt}], response_format=Temperature)
        return Temperature.model_validate_json(answer.choices[0].message.content).model_dump()

    def abandon(self, prompt: str) -> float:
        chunks = self.completion([{"role": "user", "content": prompt}], stream=True)
        next(chunk for chunk in chunks if chunk.choices[0].delta.content)
        left = time.monotonic()
        chunks.close()
        return left
