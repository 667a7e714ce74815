from __future__ import annotations

import json
import uuid
from typing import Any, get_args

from openai.types.responses import Response, ResponseStreamEvent
from twisted.internet.defer import Deferred

from openclaw_twisted.content import Message, ToolCall, Usage
from openclaw_twisted.errors import (
    ContextLengthError,
    ModelNotReadyError,
    OverloadedError,
    UpstreamError,
    UpstreamRateLimitError,
)
from openclaw_twisted.events import (
    Finished,
    ModelAnswering,
    ReasoningDelta,
    RunFinished,
    TextDelta,
    ToolCallDelta,
)
from openclaw_twisted.http.responses_answer import new_response
from openclaw_twisted.http.responses_request import parse
from openclaw_twisted.http.responses_stream import ResponseEncoder
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import user
from tests.http.door import DoorCase
from tests.http.test_openapi import DOCUMENT, faults
from tests.http.test_parts import data_uri, padded

TOOL: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
CALL = [ToolCallDelta(0, "c1", "f", ""), ToolCallDelta(0, arguments='{"a":1}'), Finished("tool_calls")]
DONE = "data: [DONE]"

# `ResponseStreamEvent` is Annotated[Union[...], ...]; each class says its type in a Literal.
KINDS = get_args(get_args(ResponseStreamEvent)[0])
EVENTS: dict[str, Any] = {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in KINDS}


def read(event: str) -> Any:
    """Return an event's JSON, checked against the client's own types."""
    name, data = event.split("\n")
    told = json.loads(data.removeprefix("data: "))
    assert name == f"event: {told['type']}", event
    EVENTS[told["type"]].model_validate(told)
    if "response" in told:
        Response.model_validate(told["response"])
    return told


def kinds(told: list[Any]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told]


class ResponsesCase(DoorCase):
    async def told(self, headers: dict[str, str] | None = None, **more: Any) -> list[Any]:
        """Return the events of a whole stream."""
        _, events = await self.respond_stream(headers, **more)
        *said, done = await events.rest()
        self.assertEqual(done, DONE)
        told = [read(event) for event in said]
        self.assertEqual([event["sequence_number"] for event in told], list(range(len(told))))
        return told

    async def whole(self, headers: dict[str, str] | None = None, **more: Any) -> Any:
        """Return a whole response."""
        answer = await self.respond(headers, **more)
        self.assertEqual(answer.status, 200, answer.text)
        Response.model_validate(answer.json)
        return answer.json


class Whole(ResponsesCase):
    async def test_an_answer(self) -> None:
        self.open(reply("Hel", "lo", usage=Usage(3, 2, 5, 1, 0)))
        body = await self.whole()
        base = body["id"].removeprefix("resp_")
        self.assertRegex(base, r"^[0-9a-f]{32}$")
        self.assertEqual(
            body,
            {
                "id": f"resp_{base}",
                "object": "response",
                "created_at": 1_700_000_000,
                "status": "completed",
                "background": False,
                "completed_at": body["completed_at"],
                "error": None,
                "incomplete_details": None,
                "instructions": None,
                "max_output_tokens": None,
                "metadata": {},
                "model": "openclaw",
                "output": [
                    {
                        "type": "message",
                        "id": f"msg_{base}_0",
                        "status": "completed",
                        "content": [
                            {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
                        ],
                        "role": "assistant",
                    }
                ],
                "parallel_tool_calls": True,
                "previous_response_id": None,
                "prompt_cache_key": None,
                "reasoning": {"effort": None, "summary": None},
                "safety_identifier": None,
                "store": True,
                "temperature": None,
                "text": {"format": {"type": "text"}},
                "tool_choice": "auto",
                "tools": [],
                "top_p": None,
                "truncation": "disabled",
                "usage": {
                    "input_tokens": 3,
                    "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
                    "output_tokens": 2,
                    "output_tokens_details": {"reasoning_tokens": 0},
                    "total_tokens": 5,
                },
                "user": None,
            },
        )

    async def test_the_id_is_the_runs(self) -> None:
        self.open(reply("ok"))
        answer = await self.respond()
        run_id = answer.headers["x-openclaw-run-id"]
        self.assertEqual(answer.json["id"], f"resp_{run_id.replace('-', '')}")
        self.assertRegex(
            answer.headers["x-openclaw-session-key"], r"^agent:main:openai-response:[0-9a-f-]{36}$"
        )

    async def test_what_was_asked_is_repeated(self) -> None:
        self.open(reply("ok"))
        schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": True}
        asked: dict[str, Any] = {
            "instructions": "Be brief.",
            "max_output_tokens": 99,
            "metadata": {"a": "b"},
            "model": "openclaw/main",
            "parallel_tool_calls": False,
            "prompt_cache_key": "cache",
            "safety_identifier": "someone",
            "store": False,
            "temperature": 0.5,
            "text": {"format": schema},
            "tool_choice": {"type": "function", "name": "f"},
            "top_p": 0.25,
            "truncation": "auto",
            "user": "ann",
        }
        body = await self.whole(**asked, tools=[TOOL], reasoning={"effort": "low", "summary": "auto"})
        self.assertEqual({name: body[name] for name in asked}, asked)
        self.assertEqual(body["tools"], [TOOL | {"description": None}])
        self.assertEqual(body["reasoning"]["effort"], "low")

    async def test_counts_that_nobody_gave_are_not_invented(self) -> None:
        self.open(reply("ok"))
        self.assertIsNone((await self.whole())["usage"])

    async def test_what_comes_out(self) -> None:
        self.open([[ReasoningDelta("Hm"), ReasoningDelta("m.")], [TextDelta("Let me see.")], CALL])
        body = await self.whole(tools=[TOOL])
        base = body["id"].removeprefix("resp_")
        self.assertEqual(body["status"], "completed")
        self.assertEqual(
            body["output"],
            [
                {
                    "type": "reasoning",
                    "id": f"rs_{base}_0",
                    "summary": [{"type": "summary_text", "text": "Hmm."}],
                },
                {
                    "type": "message",
                    "id": f"msg_{base}_1",
                    "status": "completed",
                    "content": [
                        {"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}
                    ],
                    "role": "assistant",
                },
                {
                    "type": "function_call",
                    "id": f"fc_{base}_0",
                    "call_id": "c1",
                    "name": "f",
                    "arguments": '{"a":1}',
                    "status": "completed",
                },
            ],
        )

    async def test_an_answer_without_a_word_still_has_a_message(self) -> None:
        self.open([[ReasoningDelta("Hm."), Finished("stop")]])
        output = (await self.whole())["output"]
        self.assertEqual([item["type"] for item in output], ["reasoning", "message"])
        self.assertEqual(output[1]["content"][0]["text"], "")

    async def test_an_answer_that_ends_early_is_incomplete(self) -> None:
        reasons: list[Any] = ["length", "content_filter"]
        self.open(*([[TextDelta("a"), Finished(reason)]] for reason in reasons for _ in "ws"))
        for reason, told in zip(reasons, ("max_output_tokens", "content_filter"), strict=True):
            body = await self.whole()
            *_, last = await self.told()
            self.assertEqual(last["type"], "response.incomplete")
            for response in (body, last["response"]):
                self.assertEqual(response["status"], "incomplete", reason)
                self.assertEqual(response["incomplete_details"], {"reason": told})
                self.assertEqual(response["output"][0]["status"], "incomplete")

    async def test_failures_are_http_errors(self) -> None:
        self.open([UpstreamError("no")], [ContextLengthError("too long")], [ModelNotReadyError("soon")])
        errors = [await self.respond() for _ in range(3)]
        self.assertEqual([error.status for error in errors], [502, 400, 503])
        self.assertEqual(errors[1].error["code"], "context_length_exceeded")

    async def test_an_output_that_belongs_to_no_call(self) -> None:
        self.open(reply("ok"), reply("ok"))
        output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
        answer = await self.respond(input=[output])
        self.assertEqual((answer.status, answer.error["type"]), (400, "invalid_request_error"))
        failed, _ = (await self.told(input=[output]))[-2:]
        self.assertEqual(failed["response"]["error"]["code"], "invalid_prompt")

    async def test_a_client_that_hangs_up_stops_the_run(self) -> None:
        pause = Pause()
        self.open([[TextDelta("a")], pause])
        asking = Deferred.fromCoroutine(self.respond())
        await self.until(lambda: pause.reached)
        asking.addErrback(lambda _failure: None)
        asking.cancel()
        await self.until(lambda: pause.cancelled)

    async def test_what_the_model_is_asked(self) -> None:
        self.open(reply("ok"))
        await self.whole(
            instructions="Be brief.",
            input=[
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}],
                },
                {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "rain"},
                {
                    "type": "function_call_output",
                    "call_id": "c2",
                    "output": [{"type": "input_text", "text": "sun"}],
                },
            ],
            tools=[TOOL],
            tool_choice="auto",
            max_output_tokens=7,
            reasoning={"effort": "low"},
        )
        asked = self.door.runs.provider.requests[0]
        calls = (ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}"))
        self.assertEqual(
            asked.messages,
            (
                Message(role="system", content="Be brief.\n\nBe kind."),
                user("Weather?"),
                Message(role="assistant", content="Let me see.", tool_calls=calls),
                Message(role="tool", content="rain", tool_call_id="c1"),
                Message(role="tool", content="sun", tool_call_id="c2"),
            ),
        )
        self.assertEqual((asked.sampling.max_tokens, asked.sampling.reasoning_effort), (7, "low"))
        self.assertEqual((asked.tools[0].strict, asked.tool_choice), (True, "auto"))


class Streamed(ResponsesCase):
    async def test_the_sequence(self) -> None:
        pause = Pause()
        self.open([pause, [ReasoningDelta("Hm.")], [TextDelta("Hel"), TextDelta("lo")], CALL])
        response, events = await self.respond_stream(tools=[TOOL])
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["text/event-stream; charset=utf-8"])
        first = [read((await events.queue.get()) or "") for _ in range(2)]
        pause.go_on()
        *said, done = await events.rest()
        told = first + [read(event) for event in said]
        self.assertEqual(done, DONE)
        self.assertEqual([event["sequence_number"] for event in told], list(range(len(told))))
        self.assertEqual(
            kinds(told),
            [
                "created",
                "in_progress",
                "output_item.added",
                "reasoning_summary_part.added",
                "reasoning_summary_text.delta",
                "reasoning_summary_text.done",
                "reasoning_summary_part.done",
                "output_item.done",
                "output_item.added",
                "content_part.added",
                "output_text.delta",
                "output_text.delta",
                "output_text.done",
                "content_part.done",
                "output_item.done",
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "output_item.done",
                "completed",
            ],
        )
        self.assertEqual([event.get("output_index") for event in told[2:-1]], [0] * 6 + [1] * 7 + [2] * 4)
        self.assertEqual(told[2]["item"], {"type": "reasoning", "id": told[3]["item_id"], "summary": []})
        self.assertEqual((told[10]["delta"], told[12]["text"]), ("Hel", "Hello"))
        self.assertEqual((told[16]["delta"], told[17]["arguments"]), ('{"a":1}', '{"a":1}'))
        self.assertEqual(told[0]["response"]["status"], "in_progress")
        self.assertEqual(told[-1]["response"]["id"], told[0]["response"]["id"])

    async def test_a_call_of_a_function_in_a_namespace(self) -> None:
        call = ToolCallDelta(0, "c1", "crm__f", "{}")
        namespace = {"type": "namespace", "name": "crm", "description": "d", "tools": [TOOL]}
        echoed = TOOL | {"description": None}
        self.open([[call, Finished("tool_calls")]])
        told = await self.told(tools=[namespace, TOOL])
        self.assertEqual([event["item"]["namespace"] for event in (told[2], told[-2])], ["crm"] * 2)
        ended = told[-1]["response"]
        self.assertEqual((ended["output"][0]["name"], told[-3]["name"]), ("f", "f"))
        self.assertEqual(ended["tools"], [namespace | {"tools": [echoed]}, echoed])

    async def test_a_stream_ends_with_what_a_whole_answer_is(self) -> None:
        script: Any = [
            [ReasoningDelta("Hm."), TextDelta("ok")],
            [*CALL[:-1], Finished("stop", Usage(1, 2, 3))],
        ]
        self.open(script, script)
        body, told = await self.whole(), await self.told()
        ended = told[-1]["response"]

        def alike(response: Any) -> str:
            return json.dumps(response | {"completed_at": 0}).replace(
                response["id"].removeprefix("resp_"), ""
            )

        self.assertEqual(alike(ended), alike(body))
        done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
        self.assertEqual(done, ended["output"])

    async def test_pieces_of_several_calls_by_turns(self) -> None:
        self.open(
            [
                [TextDelta("a")],
                [ToolCallDelta(0, "c1", "f", "{"), ToolCallDelta(1, "c2", "g", "[")],
                [ToolCallDelta(0, arguments="}"), TextDelta("b"), ToolCallDelta(1, arguments="]")],
                [Finished("tool_calls")],
            ]
        )
        told = await self.told()
        output = told[-1]["response"]["output"]
        self.assertEqual(
            [item.get("arguments") or item["content"][0]["text"] for item in output], ["a", "{}", "[]", "b"]
        )
        added = [event["item"]["id"] for event in told if event["type"] == "response.output_item.added"]
        self.assertEqual(added, [item["id"] for item in output])

    async def test_a_failure_on_the_way(self) -> None:
        table = [
            (UpstreamError("broke off"), "server_error", "upstream_unavailable"),
            (UpstreamRateLimitError("slower"), "rate_limit_exceeded", "upstream_rate_limited"),
            (ContextLengthError("too long"), "invalid_prompt", "context_length_exceeded"),
            (OverloadedError("later"), "server_error", "overloaded"),
        ]
        self.open(*([[ReasoningDelta("Hm.")], [TextDelta("half")], error] for error, _, _ in table))
        for error, code, ours in table:
            told = await self.told()
            failed, raised = told[-2:]
            self.assertEqual(failed["type"], "response.failed")
            response = failed["response"]
            self.assertEqual(response["status"], "failed")
            self.assertEqual(response["error"], {"code": code, "message": error.message})
            self.assertEqual(
                [item.get("status") for item in response["output"]], [None, "incomplete"], response["output"]
            )
            self.assertEqual(response["output"][1]["content"][0]["text"], "half")
            self.assertEqual(
                (raised["type"], raised["code"], raised["message"]), ("error", ours, error.message)
            )
            self.assertEqual(
                raised["error"],
                {"message": error.message, "type": error.kind, "param": None, "code": ours},
            )

    async def test_a_comment_names_the_model_that_answers(self) -> None:
        self.open([[ModelAnswering("b/2", 2, "a/1"), TextDelta("ok"), Finished("stop")]])
        _, events = await self.respond_stream()
        heard = await events.rest()
        self.assertTrue(heard[2].startswith(": x-openclaw-model"), heard[2])
        self.assertEqual(read(heard[3])["type"], "response.output_item.added")

    async def test_a_repeated_stream_is_told_again_from_its_beginning(self) -> None:
        self.open(reply("one ", "two"), reply("another"))
        key = {"idempotency-key": "k"}
        first, second = await self.told(key), await self.told(key)
        self.assertEqual(first[-1]["response"], second[-1]["response"])
        text = [event["delta"] for event in second if event["type"] == "response.output_text.delta"]
        self.assertEqual("".join(text), "one two")

    async def test_an_end_tells_of_all_that_ends(self) -> None:
        response = new_response(parse(b'{"input":"hi"}'), run_id=str(uuid.uuid4()), model="openclaw", now=0)
        encoder = ResponseEncoder(response)
        self.assertEqual(encoder.opening().count(b"event: "), 2)
        end = RunFinished(Message(role="assistant", content="a"), "stop", None, 1.5)
        written = encoder.encode(TextDelta("a")) + encoder.encode(end)
        self.assertEqual(written.count(b"event: "), 7)
        self.assertTrue(written.endswith(b"data: [DONE]\n\n"))

    async def test_silence_is_filled_with_comments(self) -> None:
        pause = Pause()
        chat = {"keepAliveSeconds": 0.02}
        self.open(
            [pause, *reply("ok")],
            settings={"gateway": {"http": {"endpoints": {"chatCompletions": chat}}}},
        )
        _, events = await self.respond_stream()
        heard = [await events.queue.get() for _ in range(3)]
        self.assertEqual(heard[2], ": keep-alive")
        pause.go_on()
        await events.rest()

    async def test_a_client_that_hangs_up_stops_the_run(self) -> None:
        pause = Pause()
        self.open([[TextDelta("a")], pause])
        _, events = await self.respond_stream()
        await events.queue.get()
        await self.until(lambda: pause.reached)
        assert events.transport is not None
        events.transport.loseConnection()
        await self.until(lambda: pause.cancelled)


class Described(ResponsesCase):
    async def test_the_document_describes_every_event(self) -> None:
        error = UpstreamError("broke off")
        words = [ReasoningDelta("Hm."), TextDelta("Let me see.")]
        self.open([words, CALL], [words, [Finished("length", Usage(1, 2, 3))]], [words, error], [error])
        content = DOCUMENT["paths"]["/v1/responses"]["post"]["responses"]["200"]["content"]
        data = content["text/event-stream"]["schema"]["properties"]["data"]
        (schema,) = (kind["contentSchema"] for kind in data["anyOf"] if "contentSchema" in kind)
        choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
        asked: list[dict[str, Any]] = [{"tools": [TOOL], "tool_choice": choice}, {"metadata": {"a": "b"}}]
        for more in (*asked, {"tool_choice": "auto"}, {}):
            for event in await self.told(**more):
                self.assertEqual(faults(schema, event), [], event)


class Door(ResponsesCase):
    """What holds for chat completions holds here."""

    async def test_who_may_ask_and_how(self) -> None:
        self.open()
        path, origin = "/v1/responses", {"origin": "https://evil.example"}
        self.assertEqual((await self.respond({"authorization": ""})).status, 401)
        self.assertEqual((await self.respond(origin)).status, 403)
        self.assertEqual((await self.respond({"content-type": "text/plain"})).status, 415)
        self.assertEqual((await self.respond({"host": "evil.example"})).status, 421)
        refused = await self.ask("GET", path)
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "POST"))
        self.assertEqual((await self.ask("POST", path, body=b"{")).status, 400)
        self.assertEqual((await self.ask("GET", f"{path}/resp_1")).error["code"], "not_found")

    async def test_agents_models_and_sessions_are_chosen_alike(self) -> None:
        self.open(
            *(reply("ok") for _ in range(3)), settings={"agents": {"list": [{"id": "main"}, {"id": "ann"}]}}
        )
        answer = await self.respond({"x-openclaw-agent-id": "ann", "x-openclaw-model": "b/2"}, model="gpt-4o")
        self.assertEqual(answer.json["model"], "gpt-4o")
        self.assertTrue(answer.headers["x-openclaw-session-key"].startswith("agent:ann:openai-response:"))
        self.assertEqual(self.door.runs.provider.requests[0].model, "b/2")
        named = await self.respond({"x-session-id": "s1"}, model=None)
        self.assertEqual(named.headers["x-openclaw-session-key"], "agent:main:session:s1")
        self.assertEqual(named.json["model"], "openclaw")
        unknown = await self.respond(model="gpt-4o")
        self.assertEqual((unknown.status, unknown.error["code"]), (404, "model_not_found"))

    async def test_a_session_takes_the_end_of_a_conversation_that_is_sent_again(self) -> None:
        self.open(reply("1"), reply("2"))
        await self.respond(input="a", user="ann")
        said = [("user", "a"), ("assistant", "1"), ("user", "b")]
        await self.respond(input=[{"role": role, "content": text} for role, text in said], user="ann")
        roles = [message.role for message in self.door.runs.provider.requests[1].messages]
        self.assertEqual(roles, ["user", "assistant", "user"])


class Switches(ResponsesCase):
    def on(self, **responses: Any) -> dict[str, Any]:
        return {"gateway": {"http": {"endpoints": {"responses": responses}}}}

    def only(self, name: str) -> dict[str, Any]:
        switches = {each: {"enabled": each == name} for each in ("chatCompletions", "responses")}
        return {"gateway": {"http": {"endpoints": switches}}}

    async def test_each_endpoint_has_its_own(self) -> None:
        self.open(settings=self.only("chatCompletions"))
        refused = await self.respond()
        self.assertEqual((refused.status, refused.error["code"]), (404, "not_found"))
        self.assertIn("gateway.http.endpoints.responses.enabled", refused.error["message"])

    async def test_the_models_are_listed_for_responses_alone(self) -> None:
        self.open(settings=self.only("responses"))
        self.assertEqual((await self.ask("GET", "/v1/models")).status, 200)
        self.assertEqual((await self.ask("GET", "/v1/models/openclaw")).status, 200)
        self.assertEqual((await self.chat()).status, 404)
        self.assertIn("The OpenAI API is at /v1/responses;", (await self.ask("GET", "/")).text)

    async def test_with_both_off_there_are_no_models(self) -> None:
        self.open(settings=self.only("neither"))
        self.assertEqual((await self.ask("GET", "/v1/models")).status, 404)
        self.assertIn("is off", (await self.ask("GET", "/")).text)

    async def test_with_both_on_the_front_page_names_both(self) -> None:
        self.open()
        self.assertIn("/v1/chat/completions and /v1/responses;", (await self.ask("GET", "/")).text)

    async def test_its_own_body_limit(self) -> None:
        self.open(reply("ok"), settings=self.on(maxBodyBytes=100))
        refused = await self.respond(input="x" * 100)
        self.assertEqual((refused.status, refused.error["code"]), (413, "request_too_large"))
        self.assertEqual((await self.chat()).status, 200)

    async def test_its_own_images(self) -> None:
        self.open(settings=self.on(images={"maxBytes": 10}))
        refused = await self.respond(input=self.showing(data_uri(padded(50))))
        self.assertEqual(refused.error["message"], "The image exceeds 10 bytes.")
        self.assertEqual(refused.error["param"], "input[0].content[0].image_url")
        refused = await self.respond(input=self.showing("https://example.org/a.png"))
        self.assertIn("gateway.http.endpoints.responses.images.allowUrl", refused.error["message"])

    async def test_how_many_by_address(self) -> None:
        self.open(settings=self.on(maxUrlParts=1, images={"allowUrl": True}))
        refused = await self.respond(input=self.showing("http://a.test/1.png", "http://a.test/2.png"))
        self.assertEqual((refused.status, refused.error["param"]), (400, "input"))
        self.assertIn("may hold 1 images by address, this one holds 2", refused.error["message"])

    def showing(self, *urls: str) -> Any:
        parts = [{"type": "input_image", "image_url": url, "detail": "low"} for url in urls]
        return [{"role": "user", "content": parts}]
