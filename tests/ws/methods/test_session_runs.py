from __future__ import annotations

from typing import Any

from openclaw_twisted.content import TextPart
from openclaw_twisted.providers.scripted import Pause, reply
from tests.ws.methods.test_send import PNG, SendCase


class SessionRunsCase(SendCase):
    def ask(self, method: str, client: Any = None, **params: Any) -> Any:
        client = client or self.client
        client.request("1", method, **params)
        (frame,) = (frame for frame in client.frames() if frame["type"] == "res")
        return frame.get("payload") or frame["error"]


class SessionSendTests(SessionRunsCase):
    def test_what_the_pipeline_is_asked_to_do(self):
        self.script([Pause()])
        answer = self.ask(
            "sessions.send",
            key="foo",
            message="hi",
            thinking="high",
            timeoutMs=1500,
            idempotencyKey="k",
            attachments=[{"mimeType": "image/png", "content": PNG}],
            mentions=[],
        )
        self.assertEqual(answer, {"runId": "k", "status": "started"})
        request = self.asked()
        self.assertEqual((str(request.session_key), request.timeout_seconds), ("agent:main:foo", 1.5))
        self.assertEqual(request.sampling.reasoning_effort, "high")
        self.assertEqual(request.messages[0].content[0], TextPart("hi"))

    def test_without_a_key_every_message_is_one_of_its_own(self):
        self.script(reply("one"), reply("two"))
        runs = {self.ask("sessions.send", key="main", message="hi")["runId"] for _ in range(2)}
        finals = {payload["runId"] for payload in self.client.heard("chat") if payload["state"] == "final"}
        self.assertEqual((len(runs), finals), (2, runs))

    def test_a_key_counts_for_both_names_of_the_method(self):
        self.script([Pause()])
        self.send("k")
        answer = self.ask("sessions.send", key="main", message="hi", idempotencyKey="k")
        self.assertEqual(answer, {"runId": "k", "status": "in_flight"})

    def test_what_cannot_be(self):
        self.assertIn("at /key", self.ask("sessions.send", key="", message="hi")["message"])
        self.assertIn("message or attachment", self.ask("sessions.send", key="main", message=" ")["message"])
        reader = self.door.client(scopes=["operator.read"])
        error = self.ask("sessions.send", reader, key="main", message="hi")
        self.assertEqual(error["message"], "missing scope: operator.write")


NOTHING = {"ok": True, "abortedRunId": None, "status": "no-active-run"}


class SessionAbortTests(SessionRunsCase):
    def test_everything_in_a_session_and_nothing_elsewhere(self):
        self.script([Pause()], [Pause()])
        self.send("a")
        self.send("b")
        self.send("c", sessionKey="other")
        answer = self.ask("sessions.abort", key="agent:main:main", clearQueued=True)
        self.assertEqual(answer, {"ok": True, "abortedRunId": "a", "status": "aborted"})
        self.assertEqual([run.request.run_id for run in self.door.runs.runner.active()], ["c"])
        self.assertEqual(self.ask("sessions.abort", key="main"), NOTHING)

    def test_one_run_by_its_id_alone(self):
        self.script([Pause()])
        self.send("a")
        self.send("b")
        for client, run_id in ((self.client, "b"), (self.door.client(3), "a")):
            answer = self.ask("sessions.abort", client, runId=run_id)
            self.assertEqual(answer, {"ok": True, "abortedRunId": run_id, "status": "aborted"})
        self.assertEqual(self.ask("sessions.abort", runId="b"), NOTHING)

    def test_what_cannot_be(self):
        self.assertIn("must have one of the properties", self.ask("sessions.abort")["message"])
        self.assertIn('unknown agent id "x"', self.ask("sessions.abort", key="agent:x:main")["message"])
