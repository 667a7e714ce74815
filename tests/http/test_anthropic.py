"""Chat completions that Anthropic's API answers: what OpenAI's client sends, and what it gets back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import openai
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from openclaw_twisted.config.settings import ModelSettings, ProviderSettings, Secret
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.testing import (
    FakeUpstream,
    LoopbackDoor,
    UpstreamCall,
    block_of,
    message_event,
    message_of,
    real_reactor,
)

__all__ = ["AnthropicTests"]

T = TypeVar("T")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ASKED: Any = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "How is the weather there?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    },
]
THOUGHT = block_of(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Oslo."})
CALLED = block_of(
    1,
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    {"type": "input_json_delta", "partial_json": '{"city":'},
    {"type": "input_json_delta", "partial_json": '"Oslo"}'},
)
TOLD = block_of(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Rain."})


class AnthropicTests(TestCase):
    """The whole way, over real sockets."""

    timeout = 20

    def setUp(self) -> None:
        self.asked: list[Any] = []
        self.answers: list[list[bytes]] = []
        self.upstream = FakeUpstream(self.answer)
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))
        settings = ProviderSettings(
            base_url=self.upstream.base_url,
            api="anthropic-messages",
            api_key=Secret("sk-the-key"),
            models=(ModelSettings(id="claude-opus-4-8", reasoning=True),),
        )
        configured = Configured(real_reactor(), {"claude": settings})
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        self.door = LoopbackDoor(
            {"agents": {"defaults": {"model": "claude/claude-opus-4-8"}}},
            provider=Catalog(configured.providers),
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(self.door.stop()))
        self.client = openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.door.port}/v1", api_key=self.door.TOKEN, max_retries=0
        )
        self.addCleanup(self.client.close)

    def answer(self, call: UpstreamCall) -> None:
        self.asked.append(call.body)
        call.stream(*self.answers.pop(0))
        call.end()

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        """Do something with the client, which blocks, in a thread."""
        return deferToThread(work)

    def create(self, messages: Any, **more: Any) -> Deferred[Any]:
        return self.do(
            lambda: self.client.chat.completions.create(
                model="openclaw", messages=messages, tools=[WEATHER], **more
            )
        )

    async def test_a_round_of_tools_about_an_image(self) -> None:
        self.answers = [
            message_of(THOUGHT, CALLED, stop_reason="tool_use", cache_read_input_tokens=40),
            message_of(TOLD),
        ]
        first = await self.create(ASKED, reasoning_effort="low")
        choice = first.choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        (called,) = choice.message.tool_calls
        self.assertEqual(
            (called.id, called.function.name, json.loads(called.function.arguments)),
            ("toolu_1", "weather", {"city": "Oslo"}),
        )
        self.assertEqual(
            (first.usage.prompt_tokens, first.usage.prompt_tokens_details.cached_tokens), (43, 40)
        )
        result = {"role": "tool", "tool_call_id": "toolu_1", "content": "8 degrees, rain"}
        second = await self.create([*ASKED, choice.message.model_dump(exclude_none=True), result])
        self.assertEqual(second.choices[0].message.content, "Rain.")
        self.assertEqual(second.choices[0].finish_reason, "stop")
        self.check_questions(*self.asked)

    def check_questions(self, first: Any, second: Any) -> None:
        """Look at what the upstream was asked."""
        self.assertIn("Be brief.", first["system"][-1]["text"])
        self.assertEqual(first["thinking"]["type"], "adaptive")
        self.assertEqual(first["tools"][0]["input_schema"]["properties"], {"city": {"type": "string"}})
        text, image = first["messages"][0]["content"]
        self.assertEqual(text, {"type": "text", "text": "How is the weather there?"})
        self.assertEqual(image["source"], {"type": "base64", "media_type": "image/png", "data": PIXEL})
        self.assertEqual([turn["role"] for turn in second["messages"]], ["user", "assistant", "user"])
        (used,), (given,) = (turn["content"] for turn in second["messages"][1:])
        self.assertEqual((used["type"], used["id"], used["input"]), ("tool_use", "toolu_1", {"city": "Oslo"}))
        self.assertEqual((given["type"], given["tool_use_id"]), ("tool_result", "toolu_1"))
        self.assertEqual(given["content"], [{"type": "text", "text": "8 degrees, rain"}])

    async def test_a_stream(self) -> None:
        self.answers = [message_of(THOUGHT, CALLED, stop_reason="tool_use")]
        chunks: list[Any] = await self.do(
            lambda: list(
                self.client.chat.completions.create(
                    model="openclaw",
                    messages=ASKED,
                    tools=[WEATHER],
                    stream=True,
                    stream_options={"include_usage": True},
                )
            )
        )
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        self.assertEqual("".join(getattr(delta, "reasoning_content", "") or "" for delta in deltas), "Oslo.")
        calls = [call for delta in deltas for call in delta.tool_calls or ()]
        self.assertEqual("".join(call.function.arguments or "" for call in calls), '{"city":"Oslo"}')
        self.assertEqual([call.id for call in calls if call.id], ["toolu_1"])
        self.assertEqual(chunks[-1].usage.total_tokens, 5)

    async def test_trouble_in_the_middle(self) -> None:
        trouble = message_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
        self.answers = [[*message_of(TOLD)[:4], trouble]]
        with self.assertRaises(openai.APIStatusError) as caught:
            await self.create(ASKED)
        self.assertEqual(caught.exception.status_code, 503)
        self.assertEqual(caught.exception.code, "upstream_overloaded")
