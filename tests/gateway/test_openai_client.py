"""The real `openai` client against a real gateway process, with an upstream that the test plays."""

from collections.abc import Callable
from typing import Any

import openai

from openclaw_twisted.testing import chunk, stream_of
from tests.gateway.client import ClientCase

HELLO: Any = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Client(ClientCase):
    async def test_plain(self) -> None:
        answer = await self.do(lambda: self.client.chat.completions.create(model="openclaw", messages=HELLO))
        self.assertEqual(answer.choices[0].message.content, "Hello")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        assert answer.usage is not None
        self.assertEqual(answer.usage.total_tokens, 5)

    async def test_streamed(self) -> None:
        def stream() -> list[Any]:
            return list(
                self.client.chat.completions.create(
                    model="openclaw", messages=HELLO, stream=True, stream_options={"include_usage": True}
                )
            )

        chunks = await self.do(stream)
        text = "".join(choice.delta.content or "" for piece in chunks for choice in piece.choices)
        self.assertEqual(text, "Hello")
        self.assertEqual(chunks[-1].usage.total_tokens, 5)

    async def test_a_session_kept_by_user(self) -> None:
        self.answers = [stream_of("Hello Ann."), stream_of("Ann.")]
        for text in ("I am Ann.", "Who am I?"):
            messages: Any = [{"role": "user", "content": text}]
            await self.do(
                lambda messages=messages: self.client.chat.completions.create(  # type: ignore[misc]
                    model="openclaw", messages=messages, user="ann"
                )
            )
        self.assertEqual(
            [message["content"] for message in self.asked[1]["messages"] if message["role"] != "system"],
            ["I am Ann.", "Hello Ann.", "Who am I?"],
        )

    async def test_the_models(self) -> None:
        models = await self.do(lambda: [model.id for model in self.client.models.list()])
        self.assertEqual(models, ["openclaw", "openclaw/default", "openclaw/main"])
        one = await self.do(lambda: self.client.models.retrieve("openclaw/default"))
        self.assertEqual(one.id, "openclaw/default")

    async def test_embeddings(self) -> None:
        create = self.client.embeddings.create
        made = await self.do(lambda: create(model="openclaw", input="hi"))  # as base64, unless told otherwise
        self.assertEqual(made.data[0].embedding, [0.5, -1.0])
        numbers = await self.do(lambda: create(model="openclaw", input=["a", "b"], encoding_format="float"))
        self.assertEqual([row.embedding for row in numbers.data], [[0.5, -1.0], [0.5, -2.0]])
        self.assertEqual((numbers.data[1].index, numbers.usage.total_tokens), (1, 3))
        tokens = await self.do(lambda: create(model="openclaw", input=[[1, 2], [3]], dimensions=2))
        self.assertEqual(len(tokens.data), 2)
        self.assertEqual(self.asked[-1]["input"], [[1, 2], [3]])
        self.assertEqual(self.asked[-1]["dimensions"], 2)
        with self.assertRaises(openai.BadRequestError):
            await self.do(lambda: create(model="openclaw", input=["a"] * 2049))

    async def test_a_round_of_tools(self) -> None:
        call = {
            "index": 0,
            "id": "c1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": ""},
        }
        rest = {"index": 0, "function": {"arguments": '{"city":"Oslo"}'}}
        asks = [chunk({"tool_calls": [call]}), chunk({"tool_calls": [rest]}), chunk({}, "tool_calls")]
        self.answers = [[*asks, b"data: [DONE]\n\n"], stream_of("Rainy.")]

        def talk() -> str | None:
            messages: Any = [{"role": "user", "content": "Weather in Oslo?"}]
            first = self.client.chat.completions.create(model="openclaw", messages=messages, tools=[WEATHER])
            message = first.choices[0].message
            assert message.tool_calls
            messages += [
                message,
                {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"},
            ]
            second = self.client.chat.completions.create(model="openclaw", messages=messages, tools=[WEATHER])
            return second.choices[0].message.content

        self.assertEqual(await self.do(talk), "Rainy.")
        sent = [message for message in self.asked[1]["messages"] if message["role"] != "system"]
        self.assertEqual([message["role"] for message in sent], ["user", "assistant", "tool"])
        self.assertEqual(sent[1]["tool_calls"][0]["function"]["arguments"], '{"city":"Oslo"}')

    async def test_errors_are_the_clients_own_kinds(self) -> None:
        create = self.client.chat.completions.create
        stranger = openai.OpenAI(base_url=self.gateway.base_url, api_key="wrong", max_retries=0)
        self.addCleanup(stranger.close)
        table: list[tuple[type[openai.APIStatusError], Callable[[], object]]] = [
            (openai.NotFoundError, lambda: create(model="gpt-4o", messages=HELLO)),
            (openai.BadRequestError, lambda: create(model="openclaw", messages=[])),
            (openai.AuthenticationError, stranger.models.list),
        ]
        for kind, work in table:
            try:
                await self.do(work)
            except kind as error:
                self.assertIsInstance(error.body, dict)
            else:
                self.fail(f"{kind} was not raised")

    async def test_an_error_in_a_stream_is_raised(self) -> None:
        self.answers = [[chunk({"content": "half"})]]

        def stream() -> list[Any]:
            return list(self.client.chat.completions.create(model="openclaw", messages=HELLO, stream=True))

        try:
            await self.do(stream)
        except openai.APIError as error:
            self.assertEqual(error.code, "upstream_unavailable")
        else:
            self.fail("half an answer was taken for a whole one")
