from __future__ import annotations

import base64
from typing import Any

from openclaw_twisted.content import ImagePart, TextPart
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.providers.scripted import Pause, Scripted, reply
from openclaw_twisted.testing import run_request
from openclaw_twisted.ws.attachments import MAX_IMAGE_BYTES
from tests.ws.rig import MemoryClient, RigTestCase

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


class SendCase(RigTestCase):
    protocol = 4

    def setUp(self):
        self.door = self.rig()
        self.client = self.door.client(self.protocol)

    def script(self, *scripts: Any) -> None:
        self.door.runs.provider.add(*scripts)

    def send(self, key: str = "k", client: MemoryClient | None = None, **params: Any) -> Any:
        """Send a message; return the payload of the one response, or its error."""
        client = client or self.client
        given = {"message": "hi", "sessionKey": "main", "idempotencyKey": key} | params
        client.request(key, "chat.send", **given)
        response = client.frame()
        return response["payload"] if response["ok"] else response["error"]

    def asked(self) -> Any:
        """Return the request of the one run that goes on; stop it then."""
        (run,) = self.door.runs.runner.active()
        request = run.request
        run.cancel()
        return request


class SendTests(SendCase):
    def test_it_is_taken_at_once_and_the_reply_comes_as_events(self):
        pause = Pause()
        self.script([pause, *reply("Hello")])
        self.assertEqual(self.send(), {"runId": "k", "status": "started"})
        pause.go_on()
        chat = self.client.heard("chat")
        self.assertEqual([payload["state"] for payload in chat], ["delta", "final"])
        for payload in chat:
            self.assertEqual((payload["runId"], payload["sessionKey"]), ("k", "agent:main:main"))

    def test_a_busy_session_takes_it_too(self):
        pause, second = Pause(), Pause()
        self.script([pause, *reply("one")], [second, *reply("two")])
        self.door.runs.runner.start(run_request(run_id="http", key="main"))
        self.assertEqual(self.send(), {"runId": "k", "status": "started"})
        self.assertEqual(self.client.heard("chat"), [])
        pause.go_on()
        second.go_on()
        ends = [payload["runId"] for payload in self.client.heard("chat") if payload["state"] == "final"]
        self.assertEqual(ends, ["http", "k"])

    def test_an_interruption(self):
        self.script([Pause()], reply("two"))
        self.send("a")
        self.send("b")
        self.send("c", queueMode="interrupt")
        ends = [(p["runId"], p["state"]) for p in self.client.heard("chat") if p["state"] != "delta"]
        self.assertEqual(ends, [("b", "aborted"), ("a", "aborted"), ("c", "final")])

    def test_an_interruption_that_nobody_could_answer_stops_nothing(self):
        self.script([Pause()])
        self.send("a")
        self.door.runs.answer_with(Catalog({}))
        self.assertIn("No provider", self.send("b", queueMode="interrupt")["message"])
        self.assertEqual(self.asked().run_id, "a")

    def test_a_session_with_a_model_of_its_own_needs_no_other(self):
        for defaults in ({"model": "down/m"}, {}):
            door = self.rig(agents={"defaults": defaults})
            up = Catalog({"up": Scripted(reply("one"), reply("two"))})
            door.runs.answer_with(Failover(up, door.clock))
            client = door.client()
            self.assertIn("model", self.send("a", client)["message"])
            client.request("p", "sessions.patch", key="main", model="up/m")
            self.assertTrue(client.frame()["ok"])
            self.assertEqual(self.send("b", client)["status"], "started")
            client.request("c", "agent", message="hi", idempotencyKey="c")
            accepted, ended = client.frames()
            self.assertEqual(accepted["payload"]["status"], "accepted")
            self.assertEqual(ended["payload"]["result"]["payloads"][0]["text"], "two")

    def test_what_the_pipeline_is_asked_to_do(self):
        self.script([Pause()], [Pause()])
        self.send(
            sessionKey="foo", thinking="high", timeoutMs=1500, expectedLeafEntryId=None, fastMode="auto"
        )
        request = self.asked()
        self.assertEqual(
            (request.run_id, str(request.session_key), request.timeout_seconds), ("k", "agent:main:foo", 1.5)
        )
        self.assertEqual(request.sampling.reasoning_effort, "high")
        self.send("l", thinking="")
        self.assertIsNone(self.asked().sampling.reasoning_effort)

    def test_what_the_control_page_sends_when_it_has_come_back(self):
        self.script([Pause()])
        answer = self.send(sessionId="s", deliver=False, __controlUiReconnectResume=True, mentions=[])
        self.assertEqual(answer, {"runId": "k", "status": "started"})

    def test_images(self):
        self.script([Pause()], [Pause()])
        self.send(attachments=[{"type": "image", "mimeType": "image/png", "fileName": "a", "content": PNG}])
        (message,) = self.asked().messages
        self.assertEqual(message.content, (TextPart("hi"), ImagePart("image/png", PNG)))
        self.send("l", message="", attachments=[{"content": f"data:image/webp;base64,{PNG}"}])
        (message,) = self.asked().messages
        self.assertEqual(message.content, (ImagePart("image/webp", PNG),))

    def test_what_is_no_image(self):
        for attachment, problem in [
            (
                {"mimeType": "application/pdf", "content": PNG},
                '/0/mimeType: "application/pdf" cannot be sent',
            ),
            ({"mimeType": "image/png", "content": "no base64!"}, "/0/content: is no base64"),
            ({"mimeType": "image/png", "content": 5}, "/0/content: expected `str`"),
            ({"mimeType": "image/png", "content": ""}, "/0/content: an image has 1 to"),
            (
                {"mimeType": "image/png", "content": base64.b64encode(bytes(MAX_IMAGE_BYTES + 1)).decode()},
                "/0/content: an image has 1 to",
            ),
        ]:
            self.assertIn(problem, self.send(attachments=[attachment])["message"])

    def test_what_cannot_be(self):
        bad: list[tuple[dict[str, Any], str]] = [
            ({"message": " "}, "message or attachment required"),
            ({"deliver": True}, "at /deliver: there are no channels"),
            ({"sessionKey": "agent::"}, 'malformed session key "agent::"'),
            ({"agentId": "x"}, 'unknown agent id "x"'),
            ({"thinking": "very"}, "at /thinking: "),
            ({"timeoutMs": -1}, "at /timeoutMs: "),
            ({"timeoutMs": 10**400}, "at /timeoutMs: "),
            ({"foo": 1}, "at root: unexpected property 'foo'"),
        ]
        for params, problem in bad:
            error = self.send(**params)
            self.assertEqual(error["code"], "INVALID_REQUEST")
            self.assertIn(problem, error["message"])
        self.assertEqual(self.door.runs.runner.active(), ())

    def test_a_run_that_cannot_start_leaves_its_key_free(self):
        client = self.rig(agents={"defaults": {}}).client()
        self.assertIn("No model is configured", self.send(client=client)["message"])
        self.assertIn("No model is configured", self.send(client=client)["message"])


class StopTests(SendCase):
    def test_a_message_that_stops_the_session(self):
        self.script([Pause()])
        self.send()
        answer = self.send("stop", message=" /stop ")
        self.assertEqual(answer, {"ok": True, "aborted": True, "runIds": ["k"]})
        last = self.client.heard("chat")[-1]
        self.assertEqual((last["state"], last["stopReason"]), ("aborted", "stop"))
        self.assertFalse(self.send("again", message="/stop")["aborted"])

    def test_unless_it_is_meant_as_text(self):
        self.script([Pause()], [Pause()])
        self.send()
        answer = self.send("text", message="/stop", suppressCommandInterpretation=True)
        self.assertEqual(answer["status"], "started")


class RepeatTests(SendCase):
    def test_while_the_run_lasts_and_afterwards(self):
        pause = Pause()
        self.script([pause, *reply("Hello")])
        self.send()
        self.assertEqual(self.send(), {"runId": "k", "status": "in_flight"})
        pause.go_on()
        self.assertEqual(self.send(), {"runId": "k", "status": "ok"})
        self.assertEqual(len(self.door.runs.provider.requests), 1)

    def test_after_it_was_stopped(self):
        self.script([Pause()])
        self.send()
        self.client.request("a", "chat.abort", sessionKey="main")
        self.client.frames()
        told = {"runId": "k", "status": "timeout", "summary": "aborted", "stopReason": "rpc"}
        self.assertEqual(self.send(), told)
        self.assertEqual(self.send(client=self.door.client(3)), {"runId": "k", "status": "ok"})

    def test_after_it_failed(self):
        self.script([UpstreamError("It broke off.")])
        self.send()
        self.client.request("k", "chat.send", message="hi", sessionKey="main", idempotencyKey="k")
        response = self.client.frame()
        self.assertEqual(
            (response["ok"], response["payload"]["status"], response["error"]["message"]),
            (False, "error", "It broke off."),
        )

    def test_a_key_counts_for_its_method_only(self):
        self.script(reply("one"))
        self.send()
        self.script(reply("two"))
        self.client.request("2", "agent", message="hi", idempotencyKey="k")
        self.assertEqual(self.client.frames()[-1]["payload"]["result"]["payloads"][0]["text"], "two")
