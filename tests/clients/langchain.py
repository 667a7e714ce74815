"""`langchain-openai`: its chat model, with chat completions and with responses."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Iterable
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.clients import contract
from tests.clients.contract import ANYBODY, Asking, Reply, Temperature

__all__ = ["ChatTests", "ResponsesTests"]


class ChatTests(contract.ListsModels):
    errors = {  # noqa: RUF012
        "a wrong key": "OpenAIAuthenticationError",
        "an unknown model": "OpenAIModelNotFoundError",
        "a refusal": "OpenAIInvalidRequestError",
        "a long conversation": "OpenAIContextOverflowError",
        "a rate limit": "OpenAIRateLimitError",
        "an overloaded provider": "OpenAIAPIError",
        "an unreachable provider": "OpenAIAPIError",
        "a silent provider": "OpenAIAPIError",
    }
    broken = "APIError"
    use_responses_api = False

    def model(self, asking: Asking = ANYBODY) -> Any:
        return ChatOpenAI(
            model=asking.model,
            base_url=self.stage.base_url,
            api_key=asking.key,
            max_retries=asking.retries,
            default_headers=asking.headers,
            model_kwargs={"user": asking.user} if asking.user else {},
            stream_usage=True,
            use_responses_api=self.use_responses_api,
            timeout=20,
        )

    def models(self) -> list[str]:
        return [model.id for model in self.model().root_client.models.list()]

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        return reply_of(self.model(asking).invoke(prompt))

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        chunks = list(self.model(asking).stream(prompt))
        return reply_of(sum_of(chunks), *(chunk.text for chunk in chunks))

    def loop(self, prompt: str, *, streamed: bool) -> str:
        tool_of_ours = tool(contract.weather)
        model = self.model().bind_tools([tool_of_ours])
        messages: list[Any] = [("user", prompt)]
        while True:
            answer = sum_of(model.stream(messages)) if streamed else model.invoke(messages)
            if not answer.tool_calls:
                return str(answer.text)
            messages += [answer, *map(tool_of_ours.invoke, answer.tool_calls)]

    def forced(self, prompt: str) -> tuple[str, Any]:
        answer = self.model().bind_tools([tool(contract.weather)], tool_choice="weather").invoke(prompt)
        (call,) = answer.tool_calls
        return call["name"], call["args"]

    def structured(self, prompt: str) -> Any:
        return self.model().with_structured_output(Temperature).invoke(prompt).model_dump()

    def abandon(self, prompt: str) -> float:
        chunks = self.model().stream(prompt)
        next(chunk for chunk in chunks if chunk.text)
        left = time.monotonic()
        chunks.close()
        return left


class ResponsesTests(ChatTests):
    broken = "ValueError"
    use_responses_api = True


def sum_of(chunks: Iterable[Any]) -> Any:
    """Return the message whose pieces these are."""
    return functools.reduce(operator.add, chunks)


def reply_of(message: AIMessage, *pieces: str) -> Reply:
    counts = message.usage_metadata
    assert counts is not None
    return Reply(str(message.text), pieces=pieces, tokens=(counts["input_tokens"], counts["output_tokens"]))
