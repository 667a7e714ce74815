"""Client tools from end to end: offered, chosen, called in parallel, answered in the next request."""

from typing import Any

from openclaw_twisted.content import Message, ToolCall, ToolSpec
from openclaw_twisted.events import Finished, TextDelta, ToolCallDelta
from openclaw_twisted.providers.scripted import Step, reply
from openclaw_twisted.testing import user
from tests.http.door import DoorCase, data_of

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather", "parameters": PARAMETERS},
    },
    {"type": "function", "function": {"name": "time"}},
]
QUESTION = {"role": "user", "content": "Weather and time in Oslo?"}
CALLS: list[Step] = [
    [TextDelta("Let me see.")],
    [ToolCallDelta(0, "c1", "weather", '{"city"'), ToolCallDelta(1, "c2", "time", "")],
    [ToolCallDelta(0, arguments=':"Oslo"}'), ToolCallDelta(1, arguments="{}"), Finished("tool_calls")],
]
CALLED = Message(
    role="assistant",
    content="Let me see.",
    tool_calls=(ToolCall("c1", "weather", '{"city":"Oslo"}'), ToolCall("c2", "time", "{}")),
)
RESULTS = [
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    {"role": "tool", "tool_call_id": "c2", "content": "noon"},
]
ANSWERED = (
    user("Weather and time in Oslo?"),
    CALLED,
    Message(role="tool", content="rain", tool_call_id="c1"),
    Message(role="tool", content="noon", tool_call_id="c2"),
)


class ClientTools(DoorCase):
    def asked(self, at: int) -> Any:
        return self.door.runs.provider.requests[at]

    async def test_tools_and_the_choice_reach_the_model(self) -> None:
        choices: list[tuple[Any, Any]] = [
            (None, None),
            ("auto", "auto"),
            ("none", "none"),
            ("required", "required"),
            ({"type": "function", "function": {"name": "time"}}, ("function", "time")),
        ]
        self.open(*(reply("ok") for _ in choices))
        for at, (given, meant) in enumerate(choices):
            await self.chat(tools=TOOLS, tool_choice=given, parallel_tool_calls=False)
            asked = self.asked(at)
            self.assertEqual(asked.tool_choice, meant)
            self.assertEqual(asked.tools, (ToolSpec("weather", "The weather", PARAMETERS), ToolSpec("time")))
            self.assertEqual(asked.sampling.parallel_tool_calls, False)

    async def test_a_round_without_a_session(self) -> None:
        self.open(CALLS, reply("Rain, noon."))
        first = (await self.chat(messages=[QUESTION], tools=TOOLS)).json["choices"][0]
        self.assertEqual(first["finish_reason"], "tool_calls")
        self.assertEqual(len(first["message"]["tool_calls"]), 2)
        second = await self.chat(messages=[QUESTION, first["message"], *RESULTS], tools=TOOLS)
        self.assertEqual(second.json["choices"][0]["message"]["content"], "Rain, noon.")
        self.assertEqual(self.asked(1).messages, ANSWERED)

    async def test_a_round_in_a_session_whose_client_sends_the_results_alone(self) -> None:
        self.open(CALLS, reply("Rain, noon."))
        await self.chat(messages=[QUESTION], tools=TOOLS, user="ann")
        await self.chat(messages=RESULTS, tools=TOOLS, user="ann")
        self.assertEqual(self.asked(1).messages, ANSWERED)

    async def test_a_round_in_a_session_whose_client_sends_everything_again(self) -> None:
        self.open(CALLS, reply("Rain, noon."))
        first = (await self.chat(messages=[QUESTION], tools=TOOLS, user="ann")).json["choices"][0]
        await self.chat(messages=[QUESTION, first["message"], *RESULTS], tools=TOOLS, user="ann")
        self.assertEqual(self.asked(1).messages, ANSWERED)
        kept = await self.door.runs.store.history("agent:main:openai-user:ann")
        self.assertEqual(
            [row.message.role for row in kept], ["user", "assistant", "tool", "tool", "assistant"]
        )

    async def test_a_question_in_place_of_the_results(self) -> None:
        self.open(CALLS, reply("Never mind."))
        await self.chat(messages=[QUESTION], tools=TOOLS, user="ann")
        await self.chat(messages=[{"role": "user", "content": "Forget it."}], user="ann")
        without_calls = Message(role="assistant", content="Let me see.")
        expected = (user("Weather and time in Oslo?"), without_calls, user("Forget it."))
        self.assertEqual(self.asked(1).messages, expected)

    async def test_fragments_are_streamed_as_they_come(self) -> None:
        self.open(CALLS)
        _, events = await self.stream(messages=[QUESTION], tools=TOOLS)
        heard = (await events.rest())[1:-1]
        deltas = [data_of(event)["choices"][0]["delta"] for event in heard]
        self.assertEqual(deltas[0], {"content": "Let me see."})
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        self.assertEqual([call["index"] for call in calls], [0, 1, 0, 1])
        arguments = [
            "".join(call["function"].get("arguments", "") for call in calls if call["index"] == at)
            for at in (0, 1)
        ]
        self.assertEqual(arguments, ['{"city":"Oslo"}', "{}"])
        self.assertEqual(data_of(heard[-1])["choices"][0]["finish_reason"], "tool_calls")
