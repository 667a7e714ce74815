from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.agents.directory import Agent
from openclaw_twisted.content import Message, Usage
from openclaw_twisted.errors import (
    ModelNotReadyError,
    StorageError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import user
from tests.http.door import DoorCase, commented, data_of, text_of

TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = [ToolCallDelta(0, "c1", "f", ""), ToolCallDelta(0, arguments='{"a":1}'), Finished("tool_calls")]


class Whole(DoorCase):
    async def test_an_answer(self) -> None:
        self.open(reply("Hel", "lo", usage=Usage(3, 2, 5, 1, 0)))
        answer = await self.chat()
        self.assertEqual(answer.status, 200)
        body = answer.json
        self.assertRegex(body.pop("id"), r"^chatcmpl_[0-9a-f-]{36}$")
        self.assertEqual(
            body,
            {
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": "openclaw",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "Hello", "refusal": None},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": 3,
                    "completion_tokens": 2,
                    "total_tokens": 5,
                    "prompt_tokens_details": {"cached_tokens": 1},
                    "completion_tokens_details": {"reasoning_tokens": 0},
                },
            },
        )

    async def test_the_headers_of_an_answer(self) -> None:
        self.open(reply("ok"))
        headers = (await self.chat()).headers
        self.assertEqual(headers["content-type"], "application/json; charset=utf-8")
        self.assertRegex(headers["x-openclaw-session-key"], r"^agent:main:openai:[0-9a-f-]{36}$")
        self.assertRegex(headers["x-openclaw-run-id"], r"^[0-9a-f-]{36}$")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["referrer-policy"], "no-referrer")

    async def test_the_reason_is_the_models(self) -> None:
        reasons: list[Any] = ["stop", "length", "content_filter"]
        self.open(*([[TextDelta("a"), Finished(reason)]] for reason in reasons for _ in "ws"))
        for reason in reasons:
            self.assertEqual((await self.chat()).json["choices"][0]["finish_reason"], reason)
            _, events = await self.stream()
            *_, last, _done = await events.rest()
            self.assertEqual(data_of(last)["choices"][0]["finish_reason"], reason)

    async def test_counts_that_nobody_gave_are_not_invented(self) -> None:
        self.open(reply("ok"))
        self.assertNotIn("usage", (await self.chat()).json)

    async def test_a_tool_call_with_text_before_it(self) -> None:
        self.open([[TextDelta("Let me see.")], CALL])
        choice = (await self.chat(tools=[TOOL])).json["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["message"]["content"], "Let me see.")
        self.assertEqual(
            choice["message"]["tool_calls"],
            [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        )

    async def test_a_tool_call_alone_has_no_content(self) -> None:
        self.open([CALL])
        self.assertIsNone((await self.chat(tools=[TOOL])).json["choices"][0]["message"]["content"])

    async def test_a_legacy_client_gets_its_function_call(self) -> None:
        self.open([CALL], [CALL])
        choice = (await self.chat(functions=[TOOL["function"]])).json["choices"][0]
        self.assertEqual(choice["finish_reason"], "function_call")
        self.assertEqual(choice["message"]["function_call"], {"name": "f", "arguments": '{"a":1}'})
        self.assertNotIn("tool_calls", choice["message"])
        _, events = await self.stream(functions=[TOOL["function"]])
        choices = [data_of(event)["choices"][0] for event in (await events.rest())[1:-1]]
        self.assertEqual(
            [piece["delta"] for piece in choices],
            [
                {"function_call": {"name": "f", "arguments": ""}},
                {"function_call": {"arguments": '{"a":1}'}},
                {},
            ],
        )
        self.assertEqual(choices[-1]["finish_reason"], "function_call")

    async def test_a_client_that_hangs_up_stops_the_run(self) -> None:
        pause = Pause()
        self.open([[TextDelta("a")], pause])
        asking = Deferred.fromCoroutine(self.chat())
        await self.until(lambda: pause.reached)
        asking.cancel()
        asking.addErrback(lambda _failure: None)
        await self.until(lambda: pause.cancelled)
        await self.until(lambda: not self.door.runs.runner.active())

    async def test_what_the_model_is_asked(self) -> None:
        self.open(reply("ok"))
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ]
        await self.chat(messages=messages, temperature=0.5, max_tokens=5, max_completion_tokens=7)
        asked = self.door.runs.provider.requests[0]
        self.assertEqual(asked.model, "scripted/m")
        self.assertEqual(
            asked.messages, (Message(role="system", content="Be brief.\n\nBe kind."), user("a\nb"))
        )
        self.assertEqual((asked.sampling.temperature, asked.sampling.max_tokens), (0.5, 7))

    async def test_the_settings_complete_what_the_client_leaves_open(self) -> None:
        self.open(
            reply("ok"), settings={"agents": {"defaults": {"params": {"temperature": 0.1, "maxTokens": 9}}}}
        )
        await self.chat(temperature=0.9)
        sampling = self.door.runs.provider.requests[0].sampling
        self.assertEqual((sampling.temperature, sampling.max_tokens), (0.9, 9))


class Streamed(DoorCase):
    async def test_the_sequence(self) -> None:
        pause = Pause()
        self.open([pause, *reply("Hel", "lo")])
        response, events = await self.stream()
        pause.go_on()
        self.assertEqual(response.code, 200)
        heard = await events.rest()
        self.assertEqual(heard.pop(), "data: [DONE]")
        chunks = [data_of(event) for event in heard]
        self.assertEqual(len({chunk["id"] for chunk in chunks}), 1)
        self.assertEqual({chunk["created"] for chunk in chunks}, {1_700_000_000})
        self.assertEqual({chunk["object"] for chunk in chunks}, {"chat.completion.chunk"})
        self.assertEqual(
            [chunk["choices"] for chunk in chunks],
            [
                [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
                for delta, finish in (
                    ({"role": "assistant", "content": ""}, None),
                    ({"content": "Hel"}, None),
                    ({"content": "lo"}, None),
                    ({}, "stop"),
                )
            ],
        )
        self.assertTrue(all("usage" not in chunk for chunk in chunks))

    async def test_the_headers_and_the_role_come_before_the_model_answers(self) -> None:
        pause = Pause()
        self.open([pause, *reply("ok")])
        response, events = await self.stream()
        headers = {
            name.decode().lower(): value[0].decode() for name, value in response.headers.getAllRawHeaders()
        }
        self.assertEqual(headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(headers["cache-control"], "no-cache")
        self.assertEqual(headers["x-accel-buffering"], "no")
        self.assertIn("x-openclaw-run-id", headers)
        first = await events.queue.get()
        assert first is not None
        self.assertEqual(data_of(first)["choices"][0]["delta"], {"role": "assistant", "content": ""})
        pause.go_on()
        self.assertEqual(text_of(await events.rest()), "ok")

    async def test_each_delta_is_sent_as_it_comes(self) -> None:
        pauses = [Pause(), Pause()]
        self.open([[TextDelta("a")], pauses[0], [TextDelta("b")], pauses[1], *reply("c")])
        _, events = await self.stream()
        await events.queue.get()
        for piece, pause in zip("ab", pauses, strict=True):
            event = await events.queue.get()
            assert event is not None
            self.assertEqual(data_of(event)["choices"][0]["delta"], {"content": piece})
            pause.go_on()
        self.assertEqual(text_of(await events.rest()), "c")

    async def test_counts_when_they_are_asked_for(self) -> None:
        self.open(reply("ok", usage=Usage(3, 2, 5)))
        _, events = await self.stream(stream_options={"include_usage": True})
        heard = await events.rest()
        *chunks, counts = [data_of(event) for event in heard[:-1]]
        self.assertEqual([chunk["usage"] for chunk in chunks], [None, None, None])
        self.assertEqual(counts["choices"], [])
        self.assertEqual(counts["usage"], {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})

    async def test_reasoning_and_tool_calls(self) -> None:
        self.open([[ReasoningDelta("hm")], CALL])
        _, events = await self.stream(tools=[TOOL])
        heard = await events.rest()
        choices = [data_of(event)["choices"][0] for event in heard[1:-1]]
        self.assertEqual(
            [choice["delta"] for choice in choices],
            [
                {"reasoning_content": "hm"},
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "f", "arguments": ""},
                        }
                    ]
                },
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
                {},
            ],
        )
        self.assertEqual(choices[-1]["finish_reason"], "tool_calls")

    async def test_an_error_on_the_way_ends_the_stream_without_a_finish(self) -> None:
        self.open([[TextDelta("half")], UpstreamError("The upstream broke off.")])
        _, events = await self.stream()
        heard = await events.rest()
        self.assertEqual(heard[-1], "data: [DONE]")
        self.assertEqual(
            data_of(heard[-2]),
            {
                "error": {
                    "message": "The upstream broke off.",
                    "type": "api_error",
                    "param": None,
                    "code": "upstream_unavailable",
                }
            },
        )
        finishes = [data_of(event)["choices"][0]["finish_reason"] for event in heard[:-2]]
        self.assertEqual(set(finishes), {None})

    async def test_silence_is_broken_by_comments(self) -> None:
        pause = Pause()
        settings = {"gateway": {"http": {"endpoints": {"chatCompletions": {"keepAliveSeconds": 0.01}}}}}
        self.open([pause, *reply("ok")], settings=settings)
        _, events = await self.stream()
        await events.queue.get()
        for _ in range(2):
            comment, chunk = commented(await events.queue.get() or "")
            self.assertEqual(comment, "keep-alive")
            nothing = {"index": 0, "delta": {}, "finish_reason": None, "logprobs": None}
            self.assertEqual((chunk["choices"], chunk["object"]), ([nothing], "chat.completion.chunk"))
        pause.go_on()
        self.assertEqual(text_of(await events.rest()), "ok")

    async def test_a_client_that_hangs_up_stops_the_run(self) -> None:
        pause = Pause()
        self.open([[TextDelta("a")], pause])
        _, events = await self.stream()
        await events.queue.get()
        await self.until(lambda: pause.reached)
        assert events.transport is not None
        events.transport.loseConnection()
        await self.until(lambda: pause.cancelled)
        await self.until(lambda: not self.door.runs.runner.active())

    async def test_a_client_that_does_not_read_holds_the_run_up(self) -> None:
        batches = 2000
        pause = Pause()
        self.open([pause, *([TextDelta("x" * 10_000)] for _ in range(batches)), [Finished("stop")]])
        _, events = await self.stream()
        assert events.transport is not None
        events.transport.pauseProducing()  # type: ignore[attr-defined]
        pause.go_on()
        (run,) = self.door.runs.runner.active()
        await self.until(lambda: run.feed.held)
        held_at = len(run.reply.text)
        await self.turn()
        self.assertEqual(len(run.reply.text), held_at)
        self.assertLess(held_at, batches * 10_000)
        events.transport.resumeProducing()  # type: ignore[attr-defined]
        self.assertEqual(len(text_of(await events.rest())), batches * 10_000)

    async def test_a_client_that_takes_nothing_for_long_is_dropped(self) -> None:
        # Comments in the silence do not begin the time anew.
        chat = {"chatCompletions": {"keepAliveSeconds": 0.01}}
        settings = {"gateway": {"limits": {"streamStallSeconds": 0.1}, "http": {"endpoints": chat}}}
        pause = Pause()
        self.open([pause, *([TextDelta("x" * 10_000)] for _ in range(2000))], settings=settings)
        _, events = await self.stream()
        assert events.transport is not None
        events.transport.pauseProducing()  # type: ignore[attr-defined]
        pause.go_on()
        await self.until(lambda: not self.door.runs.runner.active())
        await self.until(lambda: not self.door.connections)
        self.assertEqual(self.door.runs.provider.closed, 1)
        events.transport.resumeProducing()  # type: ignore[attr-defined]
        self.assertNotIn("data: [DONE]", await events.rest())


class Sessions(DoorCase):
    async def test_stateless_requests_know_nothing_of_each_other(self) -> None:
        self.open(reply("a"), reply("b"))
        await self.chat()
        await self.chat()
        self.assertEqual(self.door.runs.provider.requests[1].messages, (user("hi"),))

    async def test_a_user_has_a_stable_session(self) -> None:
        self.open(reply("Hello."), reply("Again."))
        first = await self.chat(user="Ann@Example.org")
        await self.chat(user="ann@example.org", messages=[{"role": "user", "content": "more"}])
        self.assertEqual(first.headers["x-openclaw-session-key"], "agent:main:openai-user:ann@example.org")
        self.assertEqual(
            self.door.runs.provider.requests[1].messages,
            (user("hi"), Message(role="assistant", content="Hello."), user("more")),
        )

    async def test_a_header_names_the_session(self) -> None:
        self.open(reply("Hello."))
        answer = await self.chat({"x-openclaw-session-key": "Raycast:Chat:1"}, user="ignored")
        self.assertEqual(answer.headers["x-openclaw-session-key"], "agent:main:raycast:chat:1")

    async def test_a_turn_is_stored_before_its_answer_ends(self) -> None:
        self.open(reply("Hello."))
        _, events = await self.stream(user="ann")
        await events.rest()
        kept = await self.door.runs.store.history("agent:main:openai-user:ann")
        self.assertEqual([row.message.content for row in kept], ["hi", "Hello."])


class Trouble(DoorCase):
    """The statuses of what goes wrong upstream, before anything was sent."""

    async def test_each_error_has_its_status(self) -> None:
        table: list[tuple[Any, int, str | None]] = [
            (UpstreamError("x"), 502, "upstream_unavailable"),
            (UpstreamTimeoutError("x"), 504, "upstream_timeout"),
            (UpstreamRateLimitError("x", retry_after_seconds=7.2), 429, "upstream_rate_limited"),
            (UpstreamOverloadedError("x"), 503, "upstream_overloaded"),
            (UpstreamAuthError("x"), 502, "upstream_auth"),
            (UpstreamRejectedError("x", status=404), 404, "upstream_rejected"),
            (UpstreamRejectedError("x"), 400, "upstream_rejected"),
            (ModelNotReadyError("x", retry_after_seconds=900), 503, "model_not_ready"),
            (StorageError("x"), 503, "storage_unavailable"),
        ]
        self.open(*([error] for error, _, _ in table))
        for error, status, code in table:
            answer = await self.chat()
            self.assertEqual((answer.status, answer.error["code"]), (status, code), error)
            self.assertEqual(set(answer.error), {"message", "type", "param", "code"})
            if status in {429, 503}:
                self.assertIn(answer.headers["retry-after"], {"8", "5", "120"}, error)
            else:
                self.assertNotIn("retry-after", answer.headers)

    async def test_a_stream_that_cannot_begin_has_a_status_too(self) -> None:
        self.open()
        await self.door.runs.runner.drain(0)
        response, events = await self.stream()
        await events.rest()
        self.assertEqual(response.code, 503)

    async def test_an_agent_without_a_model_says_what_to_configure(self) -> None:
        self.open()
        self.door.directory.default = Agent(id="main", name="main")
        answer = await self.chat()
        self.assertEqual((answer.status, answer.error["code"]), (503, "no_provider_configured"))
        self.assertIn("agents.defaults.model", answer.error["message"])
