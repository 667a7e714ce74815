"""`pydantic-ai`: agents with its models for chat completions and for responses."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients import contract, openai_async
from tests.clients.contract import ANYBODY, Asking, Reply, Temperature

__all__ = ["ChatTests", "ResponsesTests"]

T = TypeVar("T")


class Place(BaseModel):
    city: str


class ChatTests(contract.ListsModels):
    errors = {  # noqa: RUF012
        "a wrong key": "ModelAuthenticationError 401",
        "an unknown model": "ModelNotFoundError 404",
        "a refusal": "ModelRequestRejectedError 400",
        "a long conversation": "ModelContextWindowExceededError 400",
        "a rate limit": "ModelRateLimitError 429",
        "an overloaded provider": "ModelOverloadedError 503",
        "an unreachable provider": "ModelServerError 502",
        "a silent provider": "ModelServerError 504",
    }
    broken = "ModelAPIError"
    model_class: Any = OpenAIChatModel

    def named(self, error: BaseException) -> str:
        return super().named(error) + (f" {error.status_code}" if isinstance(error, ModelHTTPError) else "")

    def using(
        self, work: Callable[[Agent[Any, Any]], Awaitable[T]], asking: Asking = ANYBODY, **more: Any
    ) -> T:
        """Return what `work` makes of an agent."""
        settings: Any = {"extra_headers": asking.headers}
        if asking.user:
            settings["openai_user"] = asking.user

        def work_with(client: AsyncOpenAI) -> Awaitable[T]:
            model = self.model_class(asking.model, provider=OpenAIProvider(openai_client=client))
            return work(Agent(model, model_settings=settings, **more))

        return openai_async.using(self.stage, asking, work_with)

    def models(self) -> list[str]:
        return openai_async.using(self.stage, ANYBODY, openai_async.models)

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        result = self.using(lambda agent: agent.run(prompt), asking)
        return Reply(result.output, tokens=(result.usage.input_tokens, result.usage.output_tokens))

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        async def streamed(agent: Agent[Any, Any]) -> Reply:
            async with agent.run_stream(prompt) as result:
                pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
                tokens = (result.usage.input_tokens, result.usage.output_tokens)
                return Reply("".join(pieces), pieces=tuple(pieces), tokens=tokens)

        return self.using(streamed, asking)

    def loop(self, prompt: str, *, streamed: bool) -> str:
        async def answered(agent: Agent[Any, Any]) -> str:
            if not streamed:
                return str((await agent.run(prompt)).output)
            async with agent.run_stream(prompt) as result:
                return str(await result.get_output())

        return self.using(answered, tools=[contract.weather])

    def forced(self, prompt: str) -> tuple[str, Any]:
        # The form of its output is a tool that it demands.
        result = self.using(lambda agent: agent.run(prompt), output_type=ToolOutput(Place, name="weather"))
        (call,) = [part for part in result.all_messages()[1].parts if part.part_kind == "tool-call"]
        return call.tool_name, result.output.model_dump()

    def structured(self, prompt: str) -> Any:
        result = self.using(lambda agent: agent.run(prompt), output_type=NativeOutput(Temperature))
        return result.output.model_dump()

    def abandon(self, prompt: str) -> float:
        async def abandoned(agent: Agent[Any, Any]) -> float:
            async with agent.run_stream(prompt) as result:
                await anext(result.stream_text(delta=True, debounce_by=None))
                left = time.monotonic()
                await result.cancel()
                return left

        return self.using(abandoned)


class ResponsesTests(ChatTests):
    broken = "ModelServerError 500"
    model_class = OpenAIResponsesModel
