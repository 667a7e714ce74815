from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import RunRecord, TurnRecord
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall
from openclaw_twisted.events import TextDelta
from openclaw_twisted.providers.scripted import Pause
from openclaw_twisted.testing import run_request, user
from openclaw_twisted.ws.history_payloads import CUT, MAX_READ_CHARACTERS
from openclaw_twisted.ws.methods import history
from tests.ws.methods.test_sessions import SessionsTestCase


class HistoryTests(SessionsTestCase):
    def texts(self, payload: Any) -> list[str]:
        return [message["content"][0]["text"] for message in payload["messages"]]

    def keep(self, *messages: Message, interrupted: bool = False) -> None:
        run = RunRecord(
            run_id="r",
            session_key="agent:main:a",
            agent_id="main",
            model="p/m",
            status="finished",
            started_at=1.0,
            ended_at=2.0,
        )
        turn = TurnRecord(run=run, messages=messages, interrupted=interrupted)
        self.successResultOf(Deferred.fromCoroutine(self.door.runs.store.commit(turn)))

    def test_version_4_gets_what_it_knows_messages_by(self) -> None:
        self.door.clock.advance(5)
        self.turn("agent:main:a", "Hi", "Hello", run_id="r1")
        answer = self.call("chat.history", sessionKey="a")
        question, reply = answer.pop("messages")
        self.assertEqual(
            question,
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hi"}],
                "timestamp": 5000,
                "idempotencyKey": "r1:user",
                "__openclaw": {
                    "id": "r1:1",
                    "seq": 1,
                    "runId": "r1",
                    "idempotencyKey": "r1:user",
                    "recordTimestampMs": 5000,
                },
            },
        )
        self.assertEqual(
            reply,
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "Hello"}],
                "timestamp": 5000,
                "provider": "p",
                "model": "m",
                "usage": {"input": 10, "output": 2, "totalTokens": 12},
                "stopReason": "stop",
                "__openclaw": {"id": "r1:2", "seq": 2, "runId": "r1", "recordTimestampMs": 5000},
            },
        )
        session = self.call("sessions.describe", key="a")["session"]
        self.assertEqual(
            answer,
            {
                "sessionKey": "agent:main:a",
                "sessionId": session["sessionId"],
                "pendingInputs": {"items": [], "total": 0},
                "hasMore": False,
                "totalMessages": 2,
                "defaults": {"modelProvider": "p", "model": "m", "contextTokens": 9000},
                "sessionInfo": session,
            },
        )

    def test_version_3_gets_plain_messages(self) -> None:
        self.turn("agent:main:a")
        answer = self.call("chat.history", self.old, sessionKey="a", limit=1)
        self.assertEqual(set(answer), {"sessionKey", "sessionId", "messages", "thinkingLevel"})
        (message,) = answer["messages"]
        self.assertEqual(message["role"], "assistant")
        self.assertFalse({"__openclaw", "idempotencyKey"} & set(message))

    def test_a_session_that_there_is_not_is_empty(self) -> None:
        answer = self.call("chat.history", sessionKey="none")
        self.assertEqual((answer["messages"], answer["totalMessages"]), ([], 0))
        self.assertIsNone(answer["sessionInfo"])
        self.assertEqual(self.call("chat.history", self.old, sessionKey="none")["thinkingLevel"], "off")

    def test_pages(self) -> None:
        for number in range(3):
            self.turn("agent:main:a", f"q{number}", f"a{number}")
        page = self.call("chat.history", sessionKey="a", limit=4)
        self.assertEqual(self.texts(page), ["q1", "a1", "q2", "a2"])
        self.assertEqual((page["hasMore"], page["nextOffset"], page["totalMessages"]), (True, 4, 6))
        page = self.call("chat.history", sessionKey="a", limit=4, offset=4)
        self.assertEqual(self.texts(page), ["q0", "a0"])
        self.assertFalse(page["hasMore"])
        self.assertEqual(self.call("chat.history", sessionKey="a", offset=6)["messages"], [])

    def test_tools_and_images(self) -> None:
        self.keep(
            Message(role="user", content=(TextPart("look"), ImagePart("image/png", "aGkh"))),
            Message(
                role="assistant", tool_calls=(ToolCall("c1", "see", '{"at": 1}'), ToolCall("c2", "see", "{"))
            ),
            Message(role="tool", content="seen", tool_call_id="c1"),
        )
        question, call, result = self.call("chat.history", sessionKey="a")["messages"]
        self.assertEqual(
            question["content"],
            [
                {"type": "text", "text": "look"},
                {"type": "image", "mimeType": "image/png", "omitted": True, "bytes": 3},
            ],
        )
        self.assertEqual(
            call["content"],
            [
                {"type": "toolCall", "id": "c1", "name": "see", "arguments": {"at": 1}},
                {"type": "toolCall", "id": "c2", "name": "see", "arguments": "{"},
            ],
        )
        self.assertEqual(
            (result["role"], result["toolCallId"], result["toolName"], result["isError"]),
            ("toolResult", "c1", "see", False),
        )

    def test_arguments_nested_however_deep_are_told(self) -> None:
        deep = [f'{{"at": {"[" * levels}{"]" * levels}}}' for levels in (700, 990, 100_000)]
        calls = tuple(ToolCall(f"c{at}", "see", arguments) for at, arguments in enumerate(deep))
        self.keep(Message(role="user", content="q"), Message(role="assistant", content="", tool_calls=calls))
        shown = self.call("chat.history", sessionKey="a")["messages"][1]["content"]
        self.assertEqual([call["id"] for call in shown], ["c0", "c1", "c2"])
        self.assertEqual((list(shown[0]["arguments"]), shown[2]["arguments"]), (["at"], deep[2]))

    def test_an_answer_that_was_cut_off_says_so(self) -> None:
        self.keep(
            Message(role="user", content="q"), Message(role="assistant", content="half"), interrupted=True
        )
        message = self.call("chat.history", sessionKey="a")["messages"][1]
        self.assertEqual(message["stopReason"], "aborted")

    def test_long_texts_and_long_histories_are_cut(self) -> None:
        for number in range(3):
            self.turn("agent:main:a", f"{number}" * 2000, "ok")
        answer = self.call("chat.history", sessionKey="a", maxChars=5)
        self.assertEqual(self.texts(answer)[0], "00000\n... (cut)")
        answer = self.call("chat.startup", sessionKey="a", maxBytes=2700)
        self.assertEqual(self.texts(answer), ["2" * 2000, "ok"])
        self.assertTrue(answer["hasMore"])
        self.assertEqual(answer["nextOffset"], 2)
        again = self.call("chat.history", sessionKey="a", maxBytes=2700)
        self.assertEqual(again["messages"], answer["messages"])
        self.assertLess(history.MAX_BYTES, self.door.settings.gateway.limits.max_payload_bytes)

    def test_no_more_is_read_than_is_good_for_everybody_else(self) -> None:
        image = ImagePart("image/png", "A" * (MAX_READ_CHARACTERS // 2))
        for number in range(3):
            question = Message(role="user", content=(TextPart(f"q{number}"), image))
            self.keep(question, Message(role="assistant", content="ok"))
        answer = self.call("chat.history", sessionKey="a")
        questions = [message["content"][0]["text"] for message in answer["messages"][::2]]
        self.assertEqual(questions, ["q1", "q2"])
        self.assertEqual((answer["hasMore"], answer["nextOffset"], answer["totalMessages"]), (True, 4, 6))

    def test_the_last_message_is_always_shown(self) -> None:
        self.turn("agent:main:a", "q", "x" * 5000)
        answer = self.call("chat.startup", sessionKey="a", maxBytes=1024)
        self.assertEqual(self.texts(answer), ["x" * 5000])

    def test_bad_params(self) -> None:
        self.assertIn("must have required property 'sessionKey'", self.problem("chat.history"))
        self.assertIn("at /limit", self.problem("chat.history", sessionKey="a", limit=1001))
        self.assertIn("unexpected property 'x'", self.problem("chat.startup", sessionKey="a", x=1))


class InFlightTests(SessionsTestCase):
    def test_who_comes_in_the_middle_of_a_run_is_told_of_it(self) -> None:
        self.turn("agent:main:a")
        self.assertNotIn("inFlightRun", self.call("chat.history", sessionKey="a"))
        self.door.clock.advance(5)
        self.door.runs.provider.add([(TextDelta("Hello"),), Pause()], [Pause()])
        runner = self.door.runs.runner
        for run_id in ("first", "waits"):
            runner.start(run_request(key="agent:main:a", models=("p/m",), run_id=run_id))
        told = {"runId": "first", "text": "Hello", "startedAt": 5000}
        self.assertEqual(self.call("chat.history", sessionKey="a")["inFlightRun"], told)
        self.assertEqual(self.call("chat.startup", sessionKey="a")["inFlightRun"], told)
        self.assertNotIn("inFlightRun", self.call("chat.history", sessionKey="b"))
        self.assertNotIn("inFlightRun", self.call("chat.history", self.old, sessionKey="a"))


class AtWorkTests(SessionsTestCase):
    """What a run was asked is kept with its answer, and shown before."""

    def start(self, question: str, run_id: str) -> None:
        request = run_request(user(question), key="agent:main:a", models=("p/m",), run_id=run_id)
        self.door.runs.runner.start(request)

    def shown(self, **params: Any) -> list[str]:
        answer = self.call("chat.history", sessionKey="a", **params)
        return [message["content"][0]["text"] for message in answer["messages"]]

    def test_it_is_what_will_be_kept(self) -> None:
        pause = Pause()
        self.door.runs.provider.add([(TextDelta("Hello"),), pause, (TextDelta("!"),)])
        self.start("Hi", "first")
        before = self.call("chat.history", sessionKey="a")["messages"]
        self.assertEqual([message["content"][0]["text"] for message in before], ["Hi"])
        for client in (self.client, self.old):
            shown = self.call("chat.history", client, sessionKey="a")["messages"]
            self.assertEqual(self.call("sessions.get", client, key="a")["messages"], shown)
            self.assertEqual(shown[0]["content"], before[0]["content"])
        pause.go_on()
        question, answer = self.call("chat.history", sessionKey="a")["messages"]
        self.assertEqual(question, before[0])
        self.assertEqual(answer["content"], [{"type": "text", "text": "Hello!"}])

    def test_it_follows_what_was_kept_and_one_that_waits_is_not_there_yet(self) -> None:
        self.turn("agent:main:a", "one", "two")
        self.door.runs.provider.add([Pause()], [Pause()])
        self.start("three", "first")
        self.start("later", "waits")
        self.assertEqual(self.shown(), ["one", "two", "three"])
        answer = self.call("chat.history", sessionKey="a", limit=1)
        self.assertEqual(len(answer["messages"]), 2)
        self.assertEqual((answer["hasMore"], answer["nextOffset"], answer["totalMessages"]), (True, 1, 2))
        self.assertEqual(self.shown(limit=1, offset=1), ["one"])

    def test_one_that_is_too_large_leaves_the_room_to_the_others(self) -> None:
        self.turn("agent:main:a", "one", "two")
        self.door.runs.provider.add([Pause()])
        self.start("x" * 600, "first")
        self.assertEqual(self.shown(maxBytes=1024), ["one", "two"])
        self.assertEqual(self.shown(maxBytes=1024, maxChars=5)[-1], "xxxxx" + CUT)


class GetTests(SessionsTestCase):
    def test_the_messages_alone(self) -> None:
        for question in ("one", "two"):
            self.turn("agent:main:a", question, "ok")
        for client in (self.client, self.old):
            shown = self.call("chat.history", client, sessionKey="a")["messages"]
            self.assertEqual(self.call("sessions.get", client, key="a"), {"messages": shown})
            newest = self.call("sessions.get", client, sessionKey="agent:main:a", limit=1)
            self.assertEqual(newest, {"messages": shown[-1:]})
        self.assertEqual(self.call("sessions.get", key="a", limit=1_000_000)["messages"][0]["role"], "user")
        self.assertEqual(self.call("sessions.get", key="none"), {"messages": []})
        self.assertIn("must have required property 'key'", self.problem("sessions.get"))


class MetadataTests(SessionsTestCase):
    def test_the_models_of_an_agent(self) -> None:
        answer = self.call("chat.metadata", agentId="work")
        models = [{"id": "w", "name": "w", "provider": "p", "contextWindow": 200_000}]
        self.assertEqual(answer, {"commands": [], "models": models})
