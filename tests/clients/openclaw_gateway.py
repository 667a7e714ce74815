"""OpenClaw's reference client for the WebSocket protocol, and one as strict as those of protocol 3."""

from __future__ import annotations

import json
import uuid
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.in_node import NodeError, script
from tests.clients.model import said_so_far
from tests.clients.schema import problems
from tests.clients.stage import TOKEN, Stage, stage

__all__ = [
    "ReferenceOf3Tests",
    "ReferenceTests",
    "ReferenceWithDeviceTests",
    "StrictOf3Tests",
    "StrictWithoutDeviceTests",
]

SCRIPT = "gateway.mjs"


class ReferenceTests(SynchronousTestCase):
    """The reference client as it is, with the secret; the others are variations of it."""

    kind = "reference"
    protocol: ClassVar[int] = 4
    device: ClassVar[str | None] = None

    def setUp(self) -> None:
        script(SCRIPT)
        self.stage: Stage = stage("openclaw_gateway")
        self.client, self.hello = self.open()

    # What a client does.

    def open(self, **given: Any) -> tuple[str, Any]:
        """Connect a client that stops after the test; returns its name and its hello."""
        job: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "kind": self.kind,
            "protocol": self.protocol,
            "device": self.device,
            "url": self.stage.base_url.replace("http:", "ws:").removesuffix("/v1"),
            "token": TOKEN,
            **given,
        }
        hello = script(SCRIPT).do({"do": "open", **job})
        self.addCleanup(self.close, job["id"])
        return job["id"], hello

    def close(self, client: str) -> None:
        """Stop a client; nothing may have gone wrong that no request was told of: gaps, frames it dropped."""
        self.assertEqual([], script(SCRIPT).do({"do": "stop", "id": client}))

    def do(self, what: str, **more: Any) -> Any:
        return script(SCRIPT).do({"do": what, "id": self.client, **more})

    def ask(self, method: str, *, final: bool = False, **params: Any) -> Any:
        """Return what a method answers; it fits the published schema."""
        payload = self.do("request", method=method, params=params, final=final)
        frame = {"type": "res", "id": "1", "ok": True, "payload": payload}
        self.assertEqual([], list(problems(self.protocol, method, frame)))
        return payload

    def refused(self, method: str, **params: Any) -> Any:
        with self.assertRaises(NodeError) as caught:
            self.ask(method, **params)
        return json.loads(str(caught.exception))

    def event(self, name: str, **having: Any) -> Any:
        """Wait for an event and return its payload; all events so far fit the published schema."""
        found = self.do("event", event=name, having=having)
        for event in self.do("events"):
            self.assertEqual([], list(problems(self.protocol, None, event)))
        return found["payload"]

    def key(self) -> str:
        """Return the key of a session that nobody has."""
        return f"agent:main:{uuid.uuid4().hex}"

    def say(self, key: str, text: str) -> str:
        """Say something in a session and wait for the end; returns the run's id."""
        run_id = uuid.uuid4().hex
        self.ask("chat.send", sessionKey=key, message=text, idempotencyKey=run_id)
        self.assertEqual("ok", self.ask("agent.wait", runId=run_id, timeoutMs=10_000)["status"])
        return run_id

    # What has to hold.

    def test_hello(self) -> None:
        frame = {"type": "res", "id": "1", "ok": True, "payload": self.hello}
        self.assertEqual([], list(problems(self.protocol, "connect", frame)))
        self.assertEqual(self.protocol, self.hello["protocol"])
        self.assertEqual(self.device is not None, "deviceToken" in self.hello["auth"])

    def test_agent(self) -> None:
        key, run_id = self.key(), uuid.uuid4().hex
        said = {"message": "Hello there.", "sessionKey": key, "idempotencyKey": run_id}
        reply = self.ask("agent", final=True, **said)
        self.assertEqual(("ok", run_id), (reply["status"], reply["runId"]))
        self.assertEqual(said_so_far("Hello there."), reply["result"]["payloads"][0]["text"])
        self.assertEqual(reply, self.ask("agent", final=True, **said))
        self.event("agent", runId=run_id, stream="lifecycle")
        self.event("agent", runId=run_id, stream="assistant")
        self.assertEqual(key, self.event("chat", runId=run_id, state="final")["sessionKey"])
        self.assertEqual("ok", self.ask("agent.wait", runId=run_id)["status"])

    def test_agent_that_fails(self) -> None:
        said = {"message": "fail 400", "agentId": "refusing", "idempotencyKey": uuid.uuid4().hex}
        self.assertIn(self.refused("agent", final=True, **said)["code"], ("INVALID_REQUEST", "UNAVAILABLE"))

    def test_chat(self) -> None:
        key = self.key()
        run_id = self.say(key, "One.")
        final = self.event("chat", runId=run_id, state="final")
        self.assertEqual(said_so_far("One."), final["message"]["content"][0]["text"])
        self.say(key, "Two.")
        history = self.ask("chat.history", sessionKey=key)
        self.assertEqual(
            ["One.", said_so_far("One."), "Two.", said_so_far("One.", "Two.")],
            [message["content"][0]["text"] for message in history["messages"]],
        )
        self.assertEqual(history["messages"], self.ask("chat.startup", sessionKey=key)["messages"])
        self.assertTrue(self.ask("chat.metadata", sessionKey=key)["models"])

    def test_abort(self) -> None:
        key, run_id = self.key(), uuid.uuid4().hex
        prompt = f"hang {run_id}"
        said = {"message": prompt, "sessionKey": key, "idempotencyKey": run_id}
        self.do("start", name="agent", method="agent", params=said, final=True)
        self.stage.model.asked(prompt)
        busy = self.ask("chat.send", sessionKey=key, message="after that", idempotencyKey=uuid.uuid4().hex)
        self.assertEqual("started", busy["status"])
        self.assertEqual([run_id], self.ask("chat.abort", sessionKey=key, runId=run_id)["runIds"])
        self.assertEqual("aborted", self.do("finish", name="agent")["summary"])
        self.stage.model.hung_up(prompt)
        self.assertEqual("rpc", self.event("chat", runId=run_id, state="aborted")["stopReason"])
        self.event("chat", runId=busy["runId"], state="final")

    def test_reading_sessions(self) -> None:
        key = self.key()
        run_id = self.say(key, "Look here.")
        row = self.ask("sessions.describe", key=key)["session"]
        listed = self.ask("sessions.list", limit=1000)
        self.assertIn(key, [session["key"] for session in listed["sessions"]])
        for known in ({"key": key}, {"sessionId": row["sessionId"]}):
            self.assertEqual(key, self.ask("sessions.resolve", **known)["key"])
        self.assertIn("No session found", self.refused("sessions.resolve", key=self.key())["message"])
        (preview,) = self.ask("sessions.preview", keys=[key])["previews"]
        self.assertEqual(("ok", 2), (preview["status"], len(preview["items"])))
        self.assertEqual("ok", self.ask("agent.wait", runId=run_id)["status"])

    def test_following_sessions(self) -> None:
        key = self.key()
        self.assertTrue(self.ask("sessions.subscribe")["subscribed"])
        self.assertTrue(self.ask("sessions.messages.subscribe", key=key)["subscribed"])
        self.say(key, "Listen.")
        self.event("sessions.changed", sessionKey=key, reason="message")
        messages = [
            self.event("session.message", sessionKey=key, messageSeq=seq)["message"] for seq in (1, 2)
        ]
        self.assertEqual(["user", "assistant"], [message["role"] for message in messages])
        self.assertFalse(self.ask("sessions.messages.unsubscribe", key=key)["subscribed"])
        self.assertFalse(self.ask("sessions.unsubscribe")["subscribed"])

    def test_changing_sessions(self) -> None:
        key, label = self.key(), uuid.uuid4().hex
        created = self.ask("sessions.create", key=key, label=label)
        self.assertEqual(key, created["key"])
        patched = self.ask("sessions.patch", key=key, thinkingLevel="low")
        self.assertEqual("low", patched["entry"]["thinkingLevel"])
        self.assertEqual(key, self.ask("sessions.resolve", label=label)["key"])
        for text in ("One.", "Two."):
            self.say(key, text)
        compacted = self.ask("sessions.compact", key=key, maxLines=2)
        self.assertEqual((True, 2), (compacted["compacted"], compacted["kept"]))
        reset = self.ask("sessions.reset", key=key)
        self.assertNotEqual(created["sessionId"], reset["entry"]["sessionId"])
        self.assertEqual([], self.ask("chat.history", sessionKey=key)["messages"])
        self.assertTrue(self.ask("sessions.delete", key=key)["deleted"])
        self.assertIsNone(self.ask("sessions.describe", key=key)["session"])
        self.assertIn("Cannot delete", self.refused("sessions.delete", key="main")["message"])

    def test_what_there_is(self) -> None:
        self.assertIn("main", [agent["id"] for agent in self.ask("agents.list")["agents"]])
        self.assertEqual("main", self.ask("agent.identity.get")["agentId"])
        self.assertIn(("mock", "m"), [(it["provider"], it["id"]) for it in self.ask("models.list")["models"]])
        config = self.ask("config.get")
        self.assertTrue(config["valid"])
        self.assertNotIn(TOKEN, json.dumps(config))
        self.assertTrue(self.ask("health")["ok"])
        self.assertGreaterEqual(self.ask("status")["sessions"]["count"], 0)
        self.assertGreaterEqual(len(self.ask("system-presence")), 2)
        self.assertTrue(self.ask("commands.list")["commands"])
        self.assertEqual([], self.ask("question.list")["questions"])
        for method in ("plugin.approval.list", "exec.approval.list"):
            self.assertEqual([], self.ask(method))
        self.assertEqual([], self.ask("taskSuggestions.list")["suggestions"])
        self.assertIsNone(self.ask("last-heartbeat"))

    def test_mistakes(self) -> None:
        for method, message in (
            ("nope", "unknown method: nope"),
            ("agent", "invalid agent params: must have required property"),
            ("connect", "connect is only valid as the first request"),
        ):
            error = self.refused(method)
            self.assertEqual("INVALID_REQUEST", error["code"])
            self.assertIn(message, error["message"])

    def test_wrong_secret(self) -> None:
        with self.assertRaises(NodeError) as caught:
            self.open(token="wrong", device=None)
        self.assertEqual("AUTH_TOKEN_MISMATCH", json.loads(str(caught.exception))["details"]["code"])

    def test_restart_of_the_gateway(self) -> None:
        key = self.key()
        run_id = self.say(key, "Before.")
        self.stage.restart()
        self.assertEqual(self.protocol, self.do("again")["protocol"])
        self.event("shutdown", reason="gateway stopping")
        self.assertEqual("ok", self.ask("agent.wait", runId=run_id)["status"])
        self.say(key, "After.")
        self.assertEqual(4, len(self.ask("chat.history", sessionKey=key)["messages"]))


class ReferenceWithDeviceTests(ReferenceTests):
    device = "d4"

    def test_the_token_of_a_device(self) -> None:
        token = self.hello["auth"]["deviceToken"]
        self.client, hello = self.open(deviceToken=token)
        self.assertEqual(self.hello["auth"]["scopes"], hello["auth"]["scopes"])
        self.assertTrue(self.ask("agents.list")["agents"])


class ReferenceOf3Tests(ReferenceTests):
    protocol = 3


class StrictOf3Tests(ReferenceWithDeviceTests):
    kind = "strict"
    protocol = 3
    device = "d3"


class StrictWithoutDeviceTests(ReferenceTests):
    kind = "strict"
    protocol = 3
