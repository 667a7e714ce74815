"""`openai` for Python: chat completions, by the current one and by the last 1.x."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from tests.clients import contract
from tests.clients.contract import ANYBODY, OPENAI_ERRORS, Asking, Reply, Temperature, weather

__all__ = ["ChatTests"]

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": weather.__doc__,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class ChatTests(contract.ListsModels):
    errors = OPENAI_ERRORS
    broken = "APIError"

    def client(self, asking: Asking = ANYBODY) -> openai.OpenAI:
        client = openai.OpenAI(
            base_url=self.stage.base_url, api_key=asking.key, max_retries=asking.retries, timeout=20
        )
        self.addCleanup(client.close)
        return client

    def models(self) -> list[str]:
        client = self.client()
        return [client.models.retrieve(model.id).id for model in client.models.list()]

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        user: Any = {"user": asking.user} if asking.user else {}
        answer: ChatCompletion = self.client(asking).chat.completions.create(
            model=asking.model,
            messages=[{"role": "user", "content": prompt}],
            extra_headers=asking.headers,
            **user,
        )
        assert answer.usage is not None
        return Reply(
            answer.choices[0].message.content or "",
            tokens=(answer.usage.prompt_tokens, answer.usage.completion_tokens),
        )

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        manager = self.client(asking).chat.completions.stream(
            model=asking.model,
            messages=[{"role": "user", "content": prompt}],
            stream_options={"include_usage": True},
        )
        with manager as stream:
            pieces = tuple(event.delta for event in stream if event.type == "content.delta")
            whole = stream.get_final_completion()
        assert whole.usage is not None
        return Reply(
            whole.choices[0].message.content or "",
            pieces=pieces,
            tokens=(whole.usage.prompt_tokens, whole.usage.completion_tokens),
        )

    def loop(self, prompt: str) -> str:
        client = self.client()
        messages: Any = [{"role": "user", "content": prompt}]
        while True:
            answer = client.chat.completions.create(model="openclaw", messages=messages, tools=[WEATHER])
            message = answer.choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages.append(message)
            for call in message.tool_calls:
                assert call.type == "function"
                result = weather(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    def forced(self, prompt: str) -> tuple[str, Any]:
        answer = self.client().chat.completions.parse(
            model="openclaw",
            messages=[{"role": "user", "content": prompt}],
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )
        calls = answer.choices[0].message.tool_calls
        assert calls
        (call,) = calls
        return call.function.name, call.function.parsed_arguments

    def structured(self, prompt: str) -> Any:
        answer = self.client().chat.completions.parse(
            model="openclaw",
            messages=[{"role": "user", "content": prompt}],
            response_format=Temperature,
        )
        parsed = answer.choices[0].message.parsed
        assert parsed is not None
        return parsed.model_dump()

    def abandon(self, prompt: str) -> float:
        with self.client().chat.completions.create(
            model="openclaw", messages=[{"role": "user", "content": prompt}], stream=True
        ) as stream:
            next(chunk for chunk in stream if chunk.choices[0].delta.content)
            return time.monotonic()

    def test_whole_answer_that_nobody_waits_for(self) -> None:
        prompt = self.unique("hang")
        impatient = self.client().with_options(timeout=0.5)
        with self.assertRaises(openai.APITimeoutError):
            impatient.chat.completions.create(
                model="openclaw", messages=[{"role": "user", "content": prompt}]
            )
        left = time.monotonic()
        self.assertLess(self.stage.model.hung_up(prompt) - left, contract.HANG_UP_SECONDS)

    def test_error_that_names_the_field(self) -> None:
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client().chat.completions.create(
                model="openclaw", messages=[{"role": "user", "content": "hi"}], temperature=9
            )
        self.assertEqual("temperature", caught.exception.param)

    def test_long_conversation_has_its_code(self) -> None:
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask("fail 400 context", Asking("openclaw/refusing"))
        self.assertEqual("context_length_exceeded", caught.exception.code)
