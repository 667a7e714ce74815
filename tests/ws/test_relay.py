from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.content import ToolCall
from openclaw_twisted.errors import (
    CancelledRunError,
    ContextLengthError,
    OverloadedError,
    UpstreamError,
    UpstreamRateLimitError,
    UpstreamTimeoutError,
)
from openclaw_twisted.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.runs.run import Run
from openclaw_twisted.testing import MemoryRuns, run_request
from openclaw_twisted.ws import frames
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.frames import event
from openclaw_twisted.ws.relay import DELTA_SECONDS, Relay, _tool_start

NOW = 1_700_000_000.5
TS = 1_700_000_000_500


class RelayCase(SynchronousTestCase):
    """A run that is listened to from its beginning, by a client of each version."""

    def setUp(self):
        self.told: list[Event] = []
        self.ended = 0
        self.runs = MemoryRuns()
        self.runs.runner.watch(self.follow)

    def follow(self, run: Run) -> None:
        self.relay = Relay(run, self.runs.clock, lambda: NOW, tell=self.told.append, gone=self.gone)

    def gone(self) -> None:
        self.ended += 1

    def start(self, *script: Any, **given: Any) -> Run:
        self.runs.provider.add(script)
        run = self.runs.runner.start(run_request(run_id="r", key="a", **given))
        run.result().addErrback(lambda _: None)
        return run

    def payloads(self, name: str, *, speaks_4: bool = True) -> list[Any]:
        """Return the payloads of what was told under one name."""
        return [
            json.loads(frames.close(event.opening(speaks_4=speaks_4)))["payload"]
            for event in self.told
            if event.name == name
        ]

    def data(self, stream: str, *, speaks_4: bool = True) -> list[Any]:
        told = self.payloads("agent", speaks_4=speaks_4)
        return [payload["data"] for payload in told if payload["stream"] == stream]

    def chat(self, *, speaks_4: bool = True) -> list[tuple[str, str | None]]:
        """Return state and text of what was told of the conversation."""
        return [
            (payload["state"], payload["message"]["content"][0]["text"] if "message" in payload else None)
            for payload in self.payloads("chat", speaks_4=speaks_4)
        ]


class ShapeTests(RelayCase):
    def setUp(self):
        super().setUp()
        self.start(*reply("Hello"))

    def test_the_steps_of_a_run(self):
        common = {
            "runId": "r",
            "ts": TS,
            "sessionKey": "agent:main:a",
            "agentId": "main",
        }
        end = {"phase": "end", "endedAt": 0, "stopReason": "stop"}
        self.assertEqual(
            self.payloads("agent"),
            [
                common
                | {
                    "stream": "lifecycle",
                    "seq": 1,
                    "data": {"phase": "start", "startedAt": 0, "model": "scripted/m"},
                },
                common | {"stream": "assistant", "seq": 2, "data": {"text": "Hello", "delta": "Hello"}},
                common | {"stream": "lifecycle", "seq": 3, "data": end},
            ],
        )

    def test_version_3_gets_no_more_than_it_knows(self):
        for payload in self.payloads("agent", speaks_4=False):
            self.assertEqual(set(payload), {"runId", "stream", "data", "seq", "ts", "sessionKey"})
        self.assertEqual(self.data("lifecycle", speaks_4=False)[0], {"phase": "start", "startedAt": 0})
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "timestamp": TS}
        common = {"runId": "r", "sessionKey": "agent:main:a", "message": message}
        self.assertEqual(
            self.payloads("chat", speaks_4=False),
            [common | {"seq": 2, "state": "delta"}, common | {"seq": 3, "state": "final"}],
        )

    def test_the_conversation(self):
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "timestamp": TS}
        common = {"runId": "r", "sessionKey": "agent:main:a", "agentId": "main", "message": message}
        self.assertEqual(
            self.payloads("chat"),
            [
                common | {"seq": 2, "state": "delta", "deltaText": "Hello"},
                common | {"seq": 3, "state": "final", "stopReason": "stop"},
            ],
        )

    def test_the_end_is_the_end(self):
        self.assertEqual(self.ended, 1)
        self.assertEqual(self.runs.clock.getDelayedCalls(), [])


class SessionTests(RelayCase):
    def test_a_session_that_is_known_is_told(self):
        self.start(*reply("one"))
        self.told.clear()
        self.start(*reply("two"))
        row = self.successResultOf(Deferred.fromCoroutine(self.runs.store.session("agent:main:a")))
        assert row is not None
        told = [payload.get("sessionId") for payload in self.payloads("agent")]
        self.assertEqual(told, [None, row.session_id, row.session_id])

    def test_a_defect_in_the_telling_costs_the_run_nothing(self):
        def tell(_event: Event) -> None:
            raise ZeroDivisionError

        pause = Pause()
        run = self.start(pause, *reply("two"))
        self.relay._tell = tell
        pause.go_on()
        self.assertEqual(run.status, "finished")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.ended, 1)


class GatheringTests(RelayCase):
    def test_words_are_gathered_and_told_on_time(self):
        pauses = [Pause(), Pause(), Pause()]
        self.start(
            [TextDelta("a")],
            pauses[0],
            [TextDelta("b")],
            [TextDelta("c")],
            pauses[1],
            [TextDelta("d")],
            pauses[2],
            [Finished("stop")],
        )
        self.assertEqual(self.data("assistant"), [{"text": "a", "delta": "a"}])
        pauses[0].go_on()
        self.assertEqual(len(self.data("assistant")), 1)
        self.runs.clock.advance(DELTA_SECONDS)
        self.assertEqual(self.data("assistant")[1:], [{"text": "abc", "delta": "bc"}])
        self.runs.clock.advance(DELTA_SECONDS)
        pauses[1].go_on()
        self.assertEqual(self.data("assistant")[2:], [{"text": "abcd", "delta": "d"}])
        pauses[2].go_on()
        self.assertEqual(
            self.chat(), [("delta", "a"), ("delta", "abc"), ("delta", "abcd"), ("final", "abcd")]
        )

    def test_what_is_left_is_told_before_the_end(self):
        self.start([TextDelta("a")], [TextDelta("b")], [Finished("stop")])
        streams = [payload["stream"] for payload in self.payloads("agent")]
        self.assertEqual(streams[-2:], ["assistant", "lifecycle"])
        self.assertEqual(self.chat(), [("delta", "a"), ("delta", "ab"), ("final", "ab")])
        self.assertEqual(self.runs.clock.getDelayedCalls(), [])

    def test_what_has_been_overtaken_is_told_whole(self):
        self.start([TextDelta("a")], [TextDelta("b")], [Finished("stop")])
        whole = [event for event in self.told if event.whole is not None]
        self.assertEqual({event.key for event in whole}, {("r", "assistant"), ("r", "chat")})
        told = [
            json.loads(frames.close(event.whole.opening(speaks_4=True)))["payload"]
            for event in whole[-2:]
            if event.whole
        ]
        self.assertEqual(told[0]["data"], {"text": "ab", "delta": "ab", "replace": True})
        self.assertEqual((told[1]["deltaText"], told[1]["replace"]), ("ab", True))

    def test_thoughts(self):
        self.start([ReasoningDelta("hm")], [ReasoningDelta("!"), TextDelta("a")], [Finished("stop")])
        self.assertEqual(
            self.data("thinking"), [{"text": "hm", "delta": "hm"}, {"text": "hm!", "delta": "!"}]
        )

    def test_the_callers_tools(self):
        call = [ToolCallDelta(0, "c1", "look", '{"at"'), ToolCallDelta(0, arguments=":1}")]
        self.start([*call, ToolCallDelta(1, "c2", "x", "{oops")], [Finished("tool_calls")])
        self.assertEqual(
            self.data("tool"),
            [
                {"phase": "start", "name": "look", "toolCallId": "c1", "args": {"at": 1}},
                {"phase": "start", "name": "x", "toolCallId": "c2", "args": "{oops"},
            ],
        )
        self.assertEqual({event.cap for event in self.told}, {None, "tool-events"})
        self.assertEqual(self.chat(), [("final", None)])

    def test_arguments_nested_as_deep_as_can_just_be_read_are_told(self):
        told = []
        for levels in range(800, 1000):
            call = ToolCall("c", "f", "[" * levels + "]" * levels)
            told.append(event("agent", _tool_start(call)))
        self.assertIn(b'"args":' + b"[" * 800, told[0])
        self.assertEqual(len(told), 200)


class EndTests(RelayCase):
    def last(self, *, speaks_4: bool = True) -> Any:
        payload = self.payloads("chat", speaks_4=speaks_4)[-1]
        common = {"runId", "sessionKey", "agentId", "seq", "message"}
        return {name: payload[name] for name in payload if name not in common}

    def test_who_stopped_it(self):
        self.runs.clock.advance(5)
        for error, reason in [
            (CancelledRunError("x"), "rpc"),
            (CancelledRunError("x", stop_reason="stop"), "stop"),
            (UpstreamTimeoutError("x"), "timeout"),
        ]:
            self.told.clear()
            self.start([TextDelta("so far")], Pause()).cancel(error)
            self.assertEqual(self.last(), {"state": "aborted", "stopReason": reason})
            self.assertEqual(self.last(speaks_4=False), {"state": "aborted", "stopReason": reason})
            self.assertEqual(self.chat()[-1], ("aborted", "so far"))
            self.assertEqual(
                self.data("lifecycle")[-1],
                {"phase": "end", "startedAt": 5000, "endedAt": 5000, "aborted": True, "stopReason": reason},
            )

    def test_why_it_failed(self):
        for error, kind in [
            (UpstreamError("oh"), "unknown"),
            (UpstreamRateLimitError("oh"), "rate_limit"),
            (UpstreamTimeoutError("oh"), "timeout"),
            (ContextLengthError("oh"), "context_length"),
        ]:
            self.told.clear()
            self.start(error)
            self.assertEqual(self.last(), {"state": "error", "errorMessage": "oh", "errorKind": kind})
            self.assertEqual(self.last(speaks_4=False), {"state": "error", "errorMessage": "oh"})
            self.assertEqual(self.data("lifecycle")[-1], {"phase": "error", "error": "oh", "endedAt": 0})

    def test_a_gateway_that_stops_is_an_error(self):
        self.start(Pause()).cancel(OverloadedError("The gateway is shutting down."))
        self.assertEqual(self.last()["state"], "error")


class LateTests(RelayCase):
    def test_who_comes_late_hears_what_comes_with_all_of_the_text(self):
        pause = Pause()
        run = self.start([TextDelta("a")], pause, [TextDelta("b")], [Finished("stop")])
        self.relay.leave()
        self.told.clear()
        self.follow(run)
        self.assertEqual(self.told, [])
        pause.go_on()
        self.assertEqual(self.data("assistant"), [{"text": "ab", "delta": "ab"}])
        self.assertEqual(self.chat()[-1], ("final", "ab"))

    def test_who_leaves_hears_no_more_and_leaves_no_timer(self):
        pause = Pause()
        self.start([TextDelta("a")], pause, [TextDelta("b")], [Finished("stop")])
        self.relay.leave()
        self.assertEqual(self.runs.clock.getDelayedCalls(), [])
        count = len(self.told)
        pause.go_on()
        self.assertEqual(len(self.told), count)
