"""`openai` for Python: chat completions and responses, by the current one and by the last 1.x."""

from __future__ import annotations

import asyncio  # noqa: TID251 - it is what an async client runs on
import json
import time
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.clients import contract, openai_async
from tests.clients.contract import ANYBODY, OPENAI_ERRORS, Asking, Reply, Temperature, weather
from tests.clients.model import said_so_far

__all__ = ["ChatTests", "ResponsesTests"]

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

FUNCTION: Any = {"type": "function", **WEATHER["function"]}


class ChatTests(contract.ListsModels):
    errors = OPENAI_ERRORS
    broken = "APIError"

    def models(self) -> list[str]:
        client = client_for(self)
        return [client.models.retrieve(model.id).id for model in client.models.list()]

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        user: Any = {"user": asking.user} if asking.user else {}
        answer: ChatCompletion = client_for(self, asking).chat.completions.create(
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
        manager = client_for(self, asking).chat.completions.stream(
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

    def loop(self, prompt: str, *, streamed: bool) -> str:
        chat = client_for(self).chat.completions
        messages: Any = [{"role": "user", "content": prompt}]
        while True:
            answer: ChatCompletion
            if streamed:
                with chat.stream(model="openclaw", messages=messages, tools=[WEATHER]) as stream:
                    answer = stream.get_final_completion()
            else:
                answer = chat.create(model="openclaw", messages=messages, tools=[WEATHER])
            message = answer.choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages.append(message)
            for call in message.tool_calls:
                assert call.type == "function"
                result = weather(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    def forced(self, prompt: str) -> tuple[str, Any]:
        answer = client_for(self).chat.completions.parse(
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
        answer = client_for(self).chat.completions.parse(
            model="openclaw",
            messages=[{"role": "user", "content": prompt}],
            response_format=Temperature,
        )
        parsed = answer.choices[0].message.parsed
        assert parsed is not None
        return parsed.model_dump()

    def abandon(self, prompt: str) -> float:
        with client_for(self).chat.completions.create(
            model="openclaw", messages=[{"role": "user", "content": prompt}], stream=True
        ) as stream:
            next(chunk for chunk in stream if chunk.choices[0].delta.content)
            return time.monotonic()

    def test_whole_answer_that_nobody_waits_for(self) -> None:
        prompt = self.unique("be silent")

        async def abandoned(client: openai.AsyncOpenAI) -> float:
            waiting = asyncio.ensure_future(
                client.chat.completions.create(
                    model="openclaw", messages=[{"role": "user", "content": prompt}]
                )
            )
            await asyncio.to_thread(self.stage.model.asked, prompt)
            waiting.cancel()
            return time.monotonic()

        left = openai_async.using(self.stage, ANYBODY, abandoned)
        self.assertLess(self.stage.model.hung_up(prompt) - left, contract.HANG_UP_SECONDS)

    def test_error_that_names_the_field(self) -> None:
        with self.assertRaises(openai.BadRequestError) as caught:
            client_for(self).chat.completions.create(
                model="openclaw", messages=[{"role": "user", "content": "hi"}], temperature=9
            )
        self.assertEqual("temperature", caught.exception.param)

    def test_long_conversation_has_its_code(self) -> None:
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask("fail 400 context", Asking("openclaw/refusing"))
        self.assertEqual("context_length_exceeded", caught.exception.code)


class ResponsesTests(contract.Tests):
    errors = OPENAI_ERRORS
    broken = "APIError"

    def create(self, prompt: Any, asking: Asking = ANYBODY, **more: Any) -> Response:
        if asking.user:
            more["user"] = asking.user
        response: Response = client_for(self, asking).responses.create(
            model=asking.model, input=prompt, extra_headers=asking.headers, **more
        )
        return response

    def ask(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        return reply_to(self.create(prompt, asking))

    def stream(self, prompt: str, asking: Asking = ANYBODY) -> Reply:
        with client_for(self, asking).responses.stream(model=asking.model, input=prompt) as stream:
            pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
            return reply_to(stream.get_final_response(), *pieces)

    def loop(self, prompt: str, *, streamed: bool) -> str:
        def create(given: Any, **more: Any) -> Response:
            if not streamed:
                return self.create(given, tools=[FUNCTION], **more)
            with client_for(self).responses.stream(
                model="openclaw", input=given, tools=[FUNCTION], **more
            ) as stream:
                return stream.get_final_response()

        response = create(prompt)
        while calls := [item for item in response.output if item.type == "function_call"]:
            results = [
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": weather(**json.loads(call.arguments)),
                }
                for call in calls
            ]
            response = create(results, previous_response_id=response.id)
        return response.output_text

    def forced(self, prompt: str) -> tuple[str, Any]:
        response = self.create(prompt, tools=[FUNCTION], tool_choice={"type": "function", "name": "weather"})
        (call,) = response.output
        assert call.type == "function_call"
        return call.name, json.loads(call.arguments)

    def structured(self, prompt: str) -> Any:
        response = client_for(self).responses.parse(model="openclaw", input=prompt, text_format=Temperature)
        assert response.output_parsed is not None
        return response.output_parsed.model_dump()

    def abandon(self, prompt: str) -> float:
        with client_for(self).responses.create(model="openclaw", input=prompt, stream=True) as stream:
            next(event for event in stream if event.type == "response.output_text.delta")
            return time.monotonic()

    def test_conversation_by_the_response_before(self) -> None:
        first = self.create("I am Ann.")
        second = self.create("Who am I?", previous_response_id=first.id)
        self.assertEqual(said_so_far("I am Ann.", "Who am I?"), second.output_text)
        other = self.create("And I?", previous_response_id=first.id)
        self.assertEqual(said_so_far("I am Ann.", "And I?"), other.output_text)

    def test_response_that_is_not_stored(self) -> None:
        first = self.create("I am Ann.", store=False)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.create("Who am I?", previous_response_id=first.id)
        self.assertEqual("previous_response_not_found", caught.exception.code)


def client_for(test: contract.Tests, asking: Asking = ANYBODY) -> openai.OpenAI:
    """Return a client of the test's gateway, which is closed when the test ends."""
    client = openai.OpenAI(
        base_url=test.stage.base_url, api_key=asking.key, max_retries=asking.retries, timeout=20
    )
    test.addCleanup(client.close)
    return client


def reply_to(response: Response, *pieces: str) -> Reply:
    assert response.usage is not None
    tokens = (response.usage.input_tokens, response.usage.output_tokens)
    return Reply(response.output_text, pieces=pieces, tokens=tokens)
