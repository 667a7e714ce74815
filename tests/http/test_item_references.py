"""Input items by their ids, over the whole HTTP door."""

from __future__ import annotations

import uuid
from typing import Any

from openclaw_twisted.content import Message, ToolCall
from openclaw_twisted.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.http.item_references import MAX_REFERENCES
from openclaw_twisted.providers.scripted import reply
from openclaw_twisted.testing import user
from tests.http.test_responses import ResponsesCase


def reference(item: str) -> dict[str, Any]:
    return {"type": "item_reference", "id": item}


class Referring(ResponsesCase):
    async def test_what_an_answer_held_is_said_again(self) -> None:
        calls = [ToolCallDelta(0, "c1", "f", "{}"), ToolCallDelta(1, "c2", "g", "[]")]
        self.open(
            [[ReasoningDelta("Hm."), TextDelta("Let me see.")], [*calls, Finished("tool_calls")]], reply("ok")
        )
        tools = [{"type": "function", "name": name} for name in "fg"]
        first = await self.whole(input="Weather?", tools=tools)
        output = [
            {"type": "function_call_output", "call_id": name, "output": "rain"} for name in ("c1", "c2")
        ]
        asked = {"role": "user", "content": "Weather?"}
        await self.whole(
            input=[asked, *(reference(item["id"]) for item in first["output"]), *output], tools=tools
        )
        self.assertEqual(
            self.door.runs.provider.requests[1].messages,
            (
                user("Weather?"),
                Message(
                    role="assistant",
                    content="Let me see.",
                    tool_calls=(ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "[]")),
                ),
                Message(role="tool", content="rain", tool_call_id="c1"),
                Message(role="tool", content="rain", tool_call_id="c2"),
            ),
        )

    async def test_words_with_a_thought_between_them_are_said_once(self) -> None:
        self.open([[TextDelta("Let me "), ReasoningDelta("Hm."), TextDelta("see.")]], reply("ok"))
        first = await self.whole(input="a")
        items = [reference(item["id"]) for item in first["output"]]
        self.assertEqual(len(items), 3)
        await self.whole(input=[*items, {"role": "user", "content": "b"}])
        said = Message(role="assistant", content="Let me see.")
        self.assertEqual(self.door.runs.provider.requests[-1].messages, (said, user("b")))

    async def test_an_answer_far_back_in_its_session(self) -> None:
        self.open(*(reply(str(n)) for n in range(1, 5)))
        first = await self.whole(input="a")
        long = [{"role": "user", "content": "x"}] * 1200
        second = await self.whole(input=long[:10], previous_response_id=first["id"])
        await self.whole(input=long, previous_response_id=second["id"])
        items = [reference(first["output"][0]["id"]), reference(second["output"][0]["id"])]
        await self.whole(input=[*items, {"role": "user", "content": "b"}])
        said = [Message(role="assistant", content=text) for text in ("1", "2")]
        self.assertEqual(self.door.runs.provider.requests[-1].messages, (*said, user("b")))

    async def test_what_is_not_kept(self) -> None:
        self.open(reply("1"), reply("2"))
        kept, unkept = await self.whole(), await self.whole(store=False)
        base = kept["id"].removeprefix("resp_")
        names = [
            unkept["output"][0]["id"],
            f"msg_{uuid.uuid4().hex}_0",
            f"fc_{base}_0",
            f"ws_{base}_0",
            "msg_1",
            "",
        ]
        for name in names:
            answer = await self.respond(input=[{"role": "user", "content": "b"}, reference(name)])
            self.assertEqual((answer.status, answer.error["param"]), (400, "input[1].id"), name)
            self.assertIn("No item of this id is kept", answer.error["message"])

    async def test_too_many(self) -> None:
        self.open(reply("1"))
        answer = await self.respond(input=[reference("rs_1")] * (MAX_REFERENCES + 1))
        self.assertEqual((answer.status, answer.error["param"]), (400, "input"))
