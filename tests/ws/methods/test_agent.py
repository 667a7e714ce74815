from __future__ import annotations

import json
import uuid
from typing import Any

from openclaw_twisted.content import Usage
from openclaw_twisted.errors import OverloadedError, UpstreamError
from openclaw_twisted.events import Finished, TextDelta
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import run_request
from tests.ws.rig import ALL_SCOPES, MemoryClient, RigTestCase, unpack

AGENTS = {
    "defaults": {
        "model": {"primary": "scripted/m", "fallbacks": ["other/n"]},
        "models": {"scripted/m": {"params": {"temperature": 0.5}}, "scripted/big": {"alias": "big"}},
        "timeoutSeconds": 60,
    },
    "entries": {"main": {}, "work": {"model": "scripted/w"}},
}


class AgentTestCase(RigTestCase):
    protocol = 4

    def setUp(self):
        self.door = self.rig(agents=AGENTS)
        self.client = self.door.client(self.protocol)

    def script(self, *scripts: Any) -> None:
        self.door.runs.provider.add(*scripts)

    def ask(self, key: str = "k", client: MemoryClient | None = None, **params: Any) -> list[Any]:
        """Send a request whose id is its key; return the responses that have come at once."""
        client = client or self.client
        client.request(key, "agent", **{"message": "hi", "idempotencyKey": key} | params)
        frames = client.frames()
        for frame in frames:
            self.assertEqual((frame["type"], frame["id"]), ("res", key))
        return frames

    def problem(self, **params: Any) -> str:
        (response,) = self.ask(**params)
        message = response["error"]["message"]
        assert isinstance(message, str)
        return message


class ReplyTests(AgentTestCase):
    def test_accepted_then_the_reply(self):
        pause = Pause()
        self.script([pause, *reply("Hello", " you", usage=Usage(11, 7, 18))])
        self.door.clock.advance(1)
        (accepted,) = self.ask()
        self.assertEqual(
            accepted["payload"],
            {
                "runId": "k",
                "status": "accepted",
                "acceptedAt": 1_700_000_001_500,
                "sessionKey": "agent:main:main",
                "agentId": "main",
            },
        )
        self.door.clock.advance(0.519)
        pause.go_on()
        final = self.client.frame()
        uuid.UUID(final["payload"]["result"]["meta"]["agentMeta"].pop("sessionId"))
        self.assertEqual(
            final,
            {
                "type": "res",
                "id": "k",
                "ok": True,
                "payload": {
                    "runId": "k",
                    "status": "ok",
                    "summary": "completed",
                    "result": {
                        "payloads": [{"text": "Hello you", "mediaUrl": None}],
                        "meta": {
                            "durationMs": 519,
                            "agentMeta": {
                                "provider": "scripted",
                                "model": "m",
                                "usage": {"input": 11, "output": 7, "total": 18},
                            },
                            "aborted": False,
                            "stopReason": "stop",
                        },
                    },
                },
            },
        )

    def test_no_text_is_no_payload_and_tokens_are_never_made_up(self):
        self.script([[Finished("length", None)]])
        result = self.ask()[-1]["payload"]["result"]
        self.assertEqual((result["payloads"], result["meta"]["stopReason"]), ([], "length"))
        self.assertNotIn("usage", result["meta"]["agentMeta"])

    def test_a_run_that_fails(self):
        self.script([[TextDelta("Hel")], UpstreamError("The provider broke off.")])
        self.assertEqual(
            self.ask()[-1],
            {
                "type": "res",
                "id": "k",
                "ok": False,
                "payload": {"runId": "k", "status": "error", "summary": "The provider broke off."},
                "error": {"code": "UNAVAILABLE", "message": "The provider broke off."},
            },
        )

    def test_a_run_that_cannot_start_leaves_its_key_free(self):
        client = self.rig(agents={"defaults": {}}).client()
        (response,) = self.ask(client=client)
        self.assertEqual(response["error"]["code"], "UNAVAILABLE")
        self.assertIn("No model is configured", response["error"]["message"])
        self.script(reply("ok"))
        self.assertIn("unknown agent", self.problem(agentId="nobody"))
        self.assertEqual(self.ask()[-1]["payload"]["status"], "ok")

    def test_a_gateway_that_stops_is_not_the_runs_fault(self):
        self.script([Pause()])
        self.ask()
        (run,) = self.door.runs.runner.active()
        run.cancel(OverloadedError("The gateway is shutting down.", retry_after_seconds=5))
        error = self.client.frame()["error"]
        self.assertEqual(
            (error["code"], error["retryable"], error["retryAfterMs"]), ("UNAVAILABLE", True, 5000)
        )

    def test_a_run_goes_on_without_its_client(self):
        pause = Pause()
        self.script([pause, *reply("Hello")])
        self.ask()
        self.client.hang_up()
        (run,) = self.door.runs.runner.active()
        pause.go_on()
        self.assertEqual(run.status, "finished")
        (response,) = self.ask(client=self.door.client())
        self.assertEqual(response["payload"]["result"]["payloads"][0]["text"], "Hello")
        self.assertEqual(len(self.door.runs.provider.requests), 1)


class RequestTests(AgentTestCase):
    def started(self, **params: Any) -> Any:
        """Return what a request has asked the runner for; the run is stopped then."""
        self.script([Pause()])
        self.ask(**params)
        (run,) = self.door.runs.runner.active()
        request = run.request
        run.cancel()
        self.client.frames()
        return request

    def test_what_the_pipeline_is_asked_to_do(self):
        request = self.started(message="  ", to="+491234", deliver=False, timeout=600)
        self.assertEqual((request.run_id, request.agent_id), ("k", "main"))
        self.assertEqual(str(request.session_key), "agent:main:main")
        self.assertEqual(request.models, ("scripted/m", "other/n"))
        (message,) = request.messages
        self.assertEqual((message.role, message.content, request.instructions), ("user", "  ", ()))
        self.assertEqual((request.timeout_seconds, request.sampling.temperature), (600, 0.5))

    def test_where_a_message_goes(self):
        for key, params, session in [
            ("a", {"agentId": "work"}, "agent:work:main"),
            ("b", {"sessionKey": "foo"}, "agent:main:foo"),
            ("c", {"sessionId": "S"}, "agent:main:explicit:s"),
            ("d", {"agentId": "main", "sessionKey": "agent:main:main"}, "agent:main:main"),
        ]:
            request = self.started(key=key, **params)
            self.assertEqual(str(request.session_key), session)
        self.assertEqual(self.started(key="e", agentId="work").models, ("scripted/w",))

    def test_how_hard_to_think(self):
        for thinking in ("off", "high", "max"):
            self.assertEqual(
                self.started(key=thinking, thinking=thinking).sampling.reasoning_effort, thinking
            )
        for nothing in ("", "default"):
            self.assertIsNone(self.started(key=f"k{nothing}", thinking=nothing).sampling.reasoning_effort)
        self.assertIn("at /thinking: ", self.problem(thinking="very"))

    def test_that_it_was_accepted_is_heard_before_what_it_does(self):
        for method in ("agent", "chat.send"):
            self.script(reply("Hello"))
            self.client.frames()
            self.client.request("1", method, message="hi", idempotencyKey=method, sessionKey="main")
            unread, heard = self.client.wire.value(), []
            while unread:
                _, payload, unread = unpack(unread)
                heard.append(json.loads(payload).get("event", "response"))
            self.assertEqual(heard[0], "response")
            self.assertIn("agent", heard)

    def test_what_the_application_for_macos_sends(self):
        request = self.started(
            sessionKey="agent:main:main",
            thinking="default",
            deliver=False,
            to="",
            channel="webchat",
            voiceWakeTrigger="computer",
        )
        self.assertEqual(str(request.session_key), "agent:main:main")

    def test_instructions_and_time(self):
        request = self.started(extraSystemPrompt="Be brief.")
        self.assertEqual((request.instructions, request.timeout_seconds), (("Be brief.",), 60))
        self.assertEqual(self.started(key="0", timeout=0).timeout_seconds, 0)

    def test_a_model_whose_provider_is_told_apart(self):
        request = self.started(provider="scripted", model="big", label="errand")
        self.assertEqual(request.models, ("scripted/big",))
        self.assertIn("at /provider: names no model", self.problem(key="x", provider="scripted"))
        self.client = self.door.client(scopes=["operator.write"])
        self.assertEqual(self.problem(key="y", provider="scripted"), "missing scope: operator.admin")

    def test_another_model_is_for_administrators(self):
        self.assertEqual(self.started(model="big").models, ("scripted/big",))
        self.client = self.door.client(scopes=["operator.write"])
        self.assertEqual(self.problem(key="x", model="big"), "missing scope: operator.admin")
        self.client = self.door.client(scopes=ALL_SCOPES)
        self.assertIn("model reads <provider>/<model>", self.problem(key="y", model="a b"))

    def test_what_cannot_be(self):
        bad: list[tuple[dict[str, Any], str]] = [
            ({"message": ""}, "at /message: expected `str` of length >= 1"),
            ({"idempotencyKey": ""}, "at /idempotencyKey: expected `str` of length >= 1"),
            ({"idempotencyKey": "k" * 257}, "at /idempotencyKey: expected `str` of length <= 256"),
            ({"timeout": -1}, "at /timeout: expected `float` >= 0.0"),
            ({"foo": 1}, "at root: unexpected property 'foo'"),
            ({"deliver": True}, "at /deliver: there are no channels"),
            ({"sessionKey": "agent::"}, 'malformed session key "agent::"'),
        ]
        for params, message in bad:
            self.assertIn(f"invalid agent params: {message}", self.problem(**params))
        self.client.request("1", "agent", idempotencyKey="k")
        self.assertEqual(
            self.client.frame()["error"]["message"],
            "invalid agent params: must have required property 'message'",
        )


class StopTests(AgentTestCase):
    def stop_reply(self) -> tuple[bool, str, str, Any]:
        final = self.client.frames()[0]
        payload = final["payload"]
        (piece,) = payload["result"]["payloads"]
        self.assertTrue(piece["isError"])
        self.assertTrue(payload["result"]["meta"]["aborted"])
        return final["ok"], payload["status"], payload["summary"], payload["result"]["meta"]["stopReason"]

    def test_a_run_whose_time_is_over(self):
        self.script([Pause()])
        self.ask(timeout=5)
        self.door.clock.advance(5)
        self.assertEqual(self.stop_reply(), (True, "timeout", "aborted", "timeout"))

    def test_a_run_that_is_stopped(self):
        self.script([Pause()])
        self.ask()
        self.client.request("abort", "chat.abort", sessionKey="main", runId="k")
        self.assertEqual(self.stop_reply(), (True, "timeout", "aborted", "rpc"))
        (again,) = self.ask()
        self.assertEqual(again["payload"]["status"], "timeout")


class RepeatTests(AgentTestCase):
    def test_while_the_run_lasts(self):
        pause = Pause()
        self.script([pause, *reply("Hello")])
        self.ask()
        (response,) = self.ask(client=self.door.client(), message="something else")
        self.assertEqual(
            response["payload"],
            {"runId": "k", "status": "in_flight", "sessionKey": "agent:main:main", "agentId": "main"},
        )
        pause.go_on()
        self.assertEqual(self.client.frame()["payload"]["status"], "ok")

    def test_when_it_has_ended_and_when_that_is_forgotten(self):
        self.script(reply("first"), reply("second"))
        first = self.ask()[-1]
        self.assertEqual(self.ask(), [first])
        self.door.clock.advance(300)
        self.client = self.door.client()
        self.assertEqual(self.ask()[-1]["payload"]["result"]["payloads"][0]["text"], "second")

    def test_back_to_back(self):
        self.script([Pause()], [Pause()])
        self.client.request("1", "agent", message="hi", idempotencyKey="k")
        self.client.request("2", "agent", message="hi", idempotencyKey="k")
        self.assertEqual(
            [frame["payload"]["status"] for frame in self.client.frames()], ["accepted", "in_flight"]
        )
        self.assertEqual(len(self.door.runs.runner.active()), 1)

    def test_the_key_of_another_doors_run_joins_it(self):
        pause = Pause()
        self.script([pause, *reply("Hello")])
        run = self.door.runs.runner.start(run_request(run_id="k", key="main"))
        run.join()
        (accepted,) = self.ask()
        self.assertEqual(accepted["payload"]["status"], "accepted")
        run.leave()
        pause.go_on()
        self.assertEqual(self.client.frame()["payload"]["result"]["payloads"][0]["text"], "Hello")

    def test_the_key_of_a_run_in_another_session_is_refused(self):
        self.script([Pause()])
        run = self.door.runs.runner.start(run_request(run_id="k", key="other"))
        (refused,) = self.ask()
        self.assertIn("in another session", refused["error"]["message"])
        self.assertEqual(self.door.runs.runner.active(), (run,))

    def test_a_replay_needs_no_scope_but_the_methods(self):
        self.script(reply("Hello"))
        self.ask()
        (denied,) = self.ask(client=self.door.client(scopes=["operator.read"]))
        self.assertFalse(denied["ok"])


class Version3Tests(AgentTestCase):
    protocol = 3

    def test_accepted_says_no_more_than_version_3_knows(self):
        self.script([Pause()])
        (accepted,) = self.ask()
        self.assertEqual(set(accepted["payload"]), {"runId", "status", "acceptedAt"})

    def test_a_repeated_request_hears_accepted_again_and_then_the_reply(self):
        pause = Pause()
        self.script([pause, *reply("Hello")])
        self.ask()
        other = self.door.client(3)
        (accepted,) = self.ask(client=other)
        self.assertEqual(accepted["payload"]["status"], "accepted")
        pause.go_on()
        self.assertEqual(self.client.frame()["payload"], other.frame()["payload"])

    def test_a_run_that_is_stopped_is_no_error(self):
        # Its command line would run the message a second time, without the gateway.
        self.script([Pause()])
        self.ask(timeout=5)
        self.door.clock.advance(5)
        final = self.client.frame()
        self.assertEqual((final["ok"], final["payload"]["status"]), (True, "ok"))
        self.assertIn("took longer than 5 s", final["payload"]["result"]["payloads"][0]["text"])
