"""The Responses API of the real `openai` client against a real gateway process."""

from typing import Any

import openai
from pydantic import BaseModel
from twisted.internet.defer import Deferred

from openclaw_twisted.testing import chunk, stream_of
from tests.gateway.client import ClientCase

CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
REST = {"index": 0, "function": {"arguments": '{"city":"Oslo"}'}}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


class City(BaseModel):
    name: str
    rainy: bool


class Responses(ClientCase):
    def conversation(self, at: int) -> list[tuple[str, Any]]:
        """Return what the upstream was asked, without the system prompt."""
        messages = self.asked[at]["messages"]
        return [(each["role"], each.get("content")) for each in messages if each["role"] != "system"]

    async def test_answers_streams_and_shapes(self) -> None:
        plain = await self.do(lambda: self.client.responses.create(model="openclaw", input="hi"))
        self.assertEqual((plain.output_text, plain.status), ("Hello", "completed"))
        assert plain.usage is not None
        self.assertEqual(plain.usage.total_tokens, 5)

        def stream() -> list[Any]:
            return list(self.client.responses.create(model="openclaw", input="hi", stream=True))

        events = await self.do(stream)
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual((text, events[-1].type), ("Hello", "response.completed"))

        def assemble() -> Any:
            with self.client.responses.stream(model="openclaw", input="hi") as going:
                going.until_done()
                return going.get_final_response()

        self.assertEqual((await self.do(assemble)).output_text, "Hello")

        self.answers = [stream_of('{"name":"Oslo",', '"rainy":true}')]
        parsed = await self.do(
            lambda: self.client.responses.parse(model="openclaw", input="Where?", text_format=City)
        )
        self.assertEqual(parsed.output_parsed, City(name="Oslo", rainy=True))
        self.assertEqual(self.asked[-1]["response_format"]["json_schema"]["name"], "City")

    async def test_a_round_of_tools_by_both_ways(self) -> None:
        asks = [chunk({"tool_calls": [CALL]}), chunk({"tool_calls": [REST]}), chunk({}, "tool_calls")]
        calling = [*asks, b"data: [DONE]\n\n"]
        self.answers = [calling, stream_of("Rainy."), stream_of("Rainy again.")]
        create = self.client.responses.create

        def talk() -> tuple[str, str]:
            said: Any = [{"role": "user", "content": "Weather in Oslo?"}]
            first = create(model="openclaw", input=said, tools=[WEATHER])
            output_items: Any = first.output
            (call,) = output_items
            assert call.type == "function_call"
            output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
            kept = create(model="openclaw", input=[output], tools=[WEATHER], previous_response_id=first.id)
            sent = create(model="openclaw", input=[*said, *output_items, output], tools=[WEATHER])
            return kept.output_text, sent.output_text

        self.assertEqual(await self.do(talk), ("Rainy.", "Rainy again."))
        self.assertEqual(self.asked[1]["messages"], self.asked[2]["messages"])
        (called,) = (message for message in self.asked[1]["messages"] if message["role"] == "assistant")
        self.assertEqual(called["tool_calls"][0]["function"]["arguments"], '{"city":"Oslo"}')

    async def test_a_response_goes_on_after_a_restart(self) -> None:
        self.answers = [
            stream_of("Hello Ann."),
            stream_of("Ann."),
            stream_of("Still Ann."),
            stream_of("Bea."),
        ]

        def create(text: str, previous: str | None = None) -> Deferred[Any]:
            return self.do(
                lambda: self.client.responses.create(
                    model="openclaw", input=text, previous_response_id=previous
                )
            )

        first = await create("I am Ann.")
        second = await create("Who am I?", first.id)
        await self.gateway.stop("KILL")
        await self.start()
        third = await create("Who?", second.id)
        self.assertEqual(third.output_text, "Still Ann.")
        heard = [("user", "I am Ann."), ("assistant", "Hello Ann.")]
        whole = [*heard, ("user", "Who am I?"), ("assistant", "Ann."), ("user", "Who?")]
        self.assertEqual(self.conversation(2), whole)
        await create("I am Bea.", first.id)
        self.assertEqual(self.conversation(3), [*heard, ("user", "I am Bea.")])

    async def test_errors_are_the_clients_own(self) -> None:
        create = self.client.responses.create
        try:
            await self.do(lambda: create(model="openclaw", input="hi", previous_response_id="resp_1"))
        except openai.BadRequestError as error:
            self.assertEqual(
                (error.code, error.param), ("previous_response_not_found", "previous_response_id")
            )
        else:
            self.fail("a response that there is not was continued")

        self.answers = [[chunk({"content": "half"})]]
        heard: list[str] = []

        def stream() -> None:
            heard.extend(event.type for event in create(model="openclaw", input="hi", stream=True))

        try:
            await self.do(stream)
        except openai.APIError as error:
            self.assertEqual((error.code, heard[-1]), ("upstream_unavailable", "response.failed"))
        else:
            self.fail("half a response was taken for a whole one")
