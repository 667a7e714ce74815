"""`openai-agents`: agents with its models for chat completions and for responses, its default."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    ToolCallItem,
    function_tool,
)
from openai import AsyncOpenAI

from tests.clients import contract, openai_async
from tests.clients.contract import ANYBODY, OPENAI_ERRORS, Asking, Reply, Temperature
from tests.clients.model import said_so_far

__all__ = ["ChatTests", "ResponsesTests"]

T = TypeVar("T")


class ChatTests(contract.ListsModels):
    errors = OPENAI_ERRORS
    broken = "APIError"
    model_class: Any = OpenAIChatCompletionsModel

    def using(
        self,
        work: Callable[[Agent[Any]], Awaitable[T]],
        asking: Asking = ANYBODY,
        *,
        tool_choice: str | None = None,
        **more: Any,
    ) -> T:
        """Return what `work` makes of an agent."""
        settings = ModelSettings(
            extra_headers=asking.headers,
            extra_body={"user": asking.user} if asking.user else None,
            include_usage=True,
            tool_choice=tool_choice,
        )

        def work_with(client: AsyncOpenAI) -> Awaitable[T]:
            model = self.model_class(asking.model, client)
            return work(Agent(name="Ann's", model=model, model_settings=settings, **more))

        return openai_async.using(self.stage, asking, work_with)

    def models(self) -> list[str]:
        return openai_async.using(self.stage, ANYBODY, openai_async.models)

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        return reply_of(self.using(lambda agent: Runner.run(agent, prompt), asking))

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        async def streamed(agent: Agent[Any]) -> Reply:
            result = Runner.run_streamed(agent, prompt)
            pieces = [text async for text in texts(result)]
            return reply_of(result, *pieces)

        return self.using(streamed, asking)

    def loop(self, prompt: str, *, streamed: bool) -> str:
        async def answered(agent: Agent[Any]) -> str:
            if not streamed:
                return str((await Runner.run(agent, prompt)).final_output)
            return "".join([text async for text in texts(Runner.run_streamed(agent, prompt))])

        return self.using(answered, tools=[function_tool(contract.weather)])

    def forced(self, prompt: str) -> tuple[str, Any]:
        result = self.using(
            lambda agent: Runner.run(agent, prompt),
            tool_choice="weather",
            tools=[function_tool(contract.weather)],
            tool_use_behavior="stop_on_first_tool",
        )
        (call,) = [item.raw_item for item in result.new_items if isinstance(item, ToolCallItem)]
        return call.name, json.loads(call.arguments)

    def structured(self, prompt: str) -> Any:
        result = self.using(lambda agent: Runner.run(agent, prompt), output_type=Temperature)
        return result.final_output.model_dump()

    def abandon(self, prompt: str) -> float:
        async def abandoned(agent: Agent[Any]) -> float:
            result = Runner.run_streamed(agent, prompt)
            await anext(texts(result))
            left = time.monotonic()
            result.cancel()
            async for _rest in result.stream_events():
                pass
            return left

        return self.using(abandoned)


class ResponsesTests(ChatTests):
    broken = "ModelBehaviorError"
    model_class = OpenAIResponsesModel

    def test_conversation_by_the_response_before(self) -> None:
        async def talked(agent: Agent[Any]) -> str:
            first = await Runner.run(agent, "I am Ann.")
            second = await Runner.run(agent, "Who am I?", previous_response_id=first.last_response_id)
            return str(second.final_output)

        self.assertEqual(said_so_far("I am Ann.", "Who am I?"), self.using(talked))


async def texts(result: Any) -> AsyncIterator[str]:
    """Yield the pieces of text of a streamed run."""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            yield event.data.delta


def reply_of(result: Any, *pieces: str) -> Reply:
    counts = result.context_wrapper.usage
    tokens = (counts.input_tokens, counts.output_tokens)
    return Reply(str(result.final_output), pieces=pieces, tokens=tokens)
