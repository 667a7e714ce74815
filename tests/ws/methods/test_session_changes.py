from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import run_request
from tests.ws.methods.test_sessions import SessionsTestCase
from tests.ws.rig import directory_of, settings_of


class PatchTests(SessionsTestCase):
    def test_a_patch_creates_and_changes(self) -> None:
        self.door.clock.advance(7)
        answer = self.call(
            "sessions.patch",
            key="new",
            label=" Mine ",
            model="p/other",
            thinkingLevel="HIGH",
            verboseLevel="on",
            fastMode=True,
            pinned=True,
        )
        entry = answer.pop("entry")
        entry.pop("sessionId")
        self.assertEqual(
            entry,
            {
                "updatedAt": 7000,
                "label": "Mine",
                "providerOverride": "p",
                "modelOverride": "other",
                "thinkingLevel": "high",
                "verboseLevel": "on",
            },
        )
        self.assertEqual(
            answer,
            {
                "ok": True,
                "path": "sessions.sqlite3",
                "key": "agent:main:new",
                "resolved": {"modelProvider": "p", "model": "other"},
            },
        )
        session = self.call("sessions.describe", key="new")["session"]
        self.assertEqual((session["fastMode"], session["pinned"], session["model"]), (True, True, "other"))

        answer = self.call("sessions.patch", key="new", label=None, model=None, fastMode=None)
        self.assertEqual(answer["resolved"], {"modelProvider": "p", "model": "m"})
        self.assertNotIn("label", answer["entry"])
        self.assertEqual(answer["entry"]["thinkingLevel"], "high")
        self.assertNotIn("fastMode", self.call("sessions.describe", key="new")["session"])

    def test_the_next_run_of_any_door_follows_it(self) -> None:
        self.call("sessions.patch", key="a", model="p/other", thinkingLevel="low")
        self.turn("agent:main:a")
        asked = self.door.runs.provider.requests[-1]
        self.assertEqual((asked.model, asked.sampling.reasoning_effort), ("p/other", "low"))

    def test_what_is_refused(self) -> None:
        self.call("sessions.patch", key="a", label="Mine")
        for params, problem in (
            ({"label": "Mine"}, "label already in use: Mine"),
            ({"label": " "}, "invalid sessions.patch params: at /label: must be text on one line"),
            ({"label": "a\nb"}, "invalid sessions.patch params: at /label: must be text on one line"),
            ({"thinkingLevel": "much"}, "invalid thinkingLevel (use off|minimal|low|medium|high|"),
            ({"verboseLevel": "loud"}, "invalid verboseLevel (use off|on|full)"),
            ({"model": "a b"}, "model reads <provider>/<model>"),
            ({"foo": 1}, "invalid sessions.patch params: at root: unexpected property 'foo'"),
            ({"archived": True}, "at /archived"),
            ({"expectedSessionId": "x"}, "has changed"),
        ):
            self.assertIn(problem, self.problem("sessions.patch", key="b", **params))
        self.assertIsNone(self.call("sessions.describe", key="b")["session"])
        self.assertIn('unknown agent id "nobody"', self.problem("sessions.patch", key="agent:nobody:a"))

    def test_version_3_needs_admin(self) -> None:
        writer = self.door.client(3, scopes=["operator.write"])
        self.assertEqual(self.problem("sessions.patch", writer, key="a"), "missing scope: operator.admin")
        newer = self.door.client(scopes=["operator.write"])
        self.assertTrue(self.call("sessions.patch", newer, key="a")["ok"])


class CreateTests(SessionsTestCase):
    def test_a_session_with_a_key_of_its_own(self) -> None:
        answer = self.call("sessions.create", agentId="work", label="New", thinkingLevel="low")
        self.assertTrue(answer["key"].startswith("agent:work:chat:"), answer)
        self.assertEqual((answer["ok"], answer["runStarted"]), (True, False))
        session = self.call("sessions.describe", key=answer["key"])["session"]
        self.assertEqual((session["sessionId"], session["label"]), (answer["sessionId"], "New"))
        self.assertNotEqual(self.call("sessions.create")["key"], self.call("sessions.create")["key"])

    def test_a_session_with_a_given_key(self) -> None:
        answer = self.call("sessions.create", key="mine", parentSessionKey="agent:main:main", message="")
        self.assertEqual(answer["key"], "agent:main:mine")
        self.assertNotIn("runError", answer)

    def test_what_is_said_first(self) -> None:
        said: list[dict[str, Any]] = [{"message": "/stop it"}, {"task": "/stop it"}]
        for params in said:
            self.door.runs.provider.add(reply("Hello"))
            answer = self.call("sessions.create", agentId="work", **params)
            self.assertEqual((answer["runStarted"], answer["status"]), (True, "started"))
            first, second = self.call("chat.history", sessionKey=answer["key"])["messages"]
            self.assertEqual(first["content"], [{"type": "text", "text": "/stop it"}])
            self.assertEqual(second["__openclaw"]["runId"], answer["runId"])

    def test_what_could_not_be_said(self) -> None:
        answer = self.call("sessions.create", attachments=[{"mimeType": "text/plain", "content": "aGk="}])
        self.assertFalse(answer["runStarted"])
        self.assertEqual(answer["runError"]["code"], "INVALID_REQUEST")
        self.assertIn("cannot be sent", answer["runError"]["message"])
        writer = self.door.client(scopes=["operator.write"])
        answer = self.call("sessions.create", writer, message="/new hi")
        self.assertEqual(
            answer["runError"], {"code": "FORBIDDEN", "message": "missing scope: operator.admin"}
        )
        self.assertIsNotNone(self.call("sessions.describe", key=answer["key"])["session"])

    def test_a_repeated_request_is_one_session_and_one_message(self) -> None:
        self.door.runs.provider.add(reply("Hello"))
        first, again = (self.call("sessions.create", message="hi", idempotencyKey="k") for _ in range(2))
        self.assertEqual((first["key"], first["runId"]), (again["key"], again["runId"]))
        self.assertEqual((first["status"], again["status"], again["runStarted"]), ("started", "ok", True))
        self.assertEqual(len(self.call("chat.history", sessionKey=first["key"])["messages"]), 2)


class ResetTests(SessionsTestCase):
    def test_a_reset_of_what_has_been_reset_already(self) -> None:
        self.turn("agent:main:a")
        before = self.call("sessions.describe", key="a")["session"]["sessionId"]
        after = self.call("sessions.reset", key="a", expectedSessionId=before)["entry"]["sessionId"]
        self.assertIn("has changed", self.problem("sessions.reset", key="a", expectedSessionId=before))
        self.assertEqual(self.call("sessions.describe", key="a")["session"]["sessionId"], after)

    def test_a_reset_stops_what_runs_and_begins_anew(self) -> None:
        self.turn("agent:main:a")
        before = self.call("sessions.describe", key="a")["session"]
        self.door.runs.provider.add([Pause()])
        run = self.door.runs.runner.start(run_request(key="agent:main:a", models=("p/m",)))
        self.door.clock.advance(3)
        answer = self.call("sessions.reset", key="a", reason="new")
        self.assertEqual((answer["ok"], answer["key"]), (True, "agent:main:a"))
        self.assertNotEqual(answer["entry"]["sessionId"], before["sessionId"])
        self.assertEqual(answer["entry"]["updatedAt"], 3000)
        self.assertEqual(run.status, "cancelled")
        self.assertEqual(self.call("chat.history", sessionKey="a")["messages"], [])

    def test_scopes(self) -> None:
        writer = self.door.client(3, scopes=["operator.write"])
        for method in ("sessions.reset", "sessions.delete", "sessions.compact"):
            self.assertEqual(self.problem(method, writer, key="a"), "missing scope: operator.admin")

    def test_a_message_that_begins_anew_needs_admin(self) -> None:
        writer = self.door.client(3, scopes=["operator.write"])
        missing = "missing scope: operator.admin"
        params: dict[str, Any] = {"message": "/new", "idempotencyKey": "k"}
        self.assertEqual(self.problem("agent", writer, **params), missing)
        self.assertEqual(self.problem("chat.send", writer, sessionKey="main", **params), missing)


class CompactTests(SessionsTestCase):
    def test_the_newest_turns_stay(self) -> None:
        for number in range(3):
            self.turn("agent:main:a", f"q{number}")
        answer = self.call("sessions.compact", key="a", maxLines=3)
        self.assertEqual(answer, {"ok": True, "key": "agent:main:a", "compacted": True, "kept": 2})
        answer = self.call("sessions.compact", key="a", maxLines=3)
        self.assertEqual((answer["compacted"], answer["kept"]), (False, 2))
        self.assertEqual(self.call("sessions.compact", key="none")["kept"], 0)
        self.assertIn("at /maxLines", self.problem("sessions.compact", key="a", maxLines=0))


class DeleteTests(SessionsTestCase):
    def test_a_session_goes_with_everything(self) -> None:
        self.turn("agent:main:a")
        answer = self.call("sessions.delete", key="a", deleteTranscript=True)
        self.assertEqual(answer, {"ok": True, "key": "agent:main:a", "deleted": True, "archived": []})
        self.assertFalse(self.call("sessions.delete", key="a")["deleted"])
        store = self.door.runs.store
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(store.runs("agent:main:a"))), ())

    def test_the_main_session_stays(self) -> None:
        self.assertEqual(
            self.problem("sessions.delete", key="main"),
            "Cannot delete the main session (agent:main:main).",
        )

    def test_another_conversation_is_not_deleted(self) -> None:
        self.turn("agent:main:a")
        problem = self.problem("sessions.delete", key="a", expectedSessionId="other")
        self.assertIn("has changed", problem)
        self.assertIsNotNone(self.call("sessions.describe", key="a")["session"])

    def test_what_a_removed_agent_has_left_behind(self) -> None:
        key = "agent:work:a"
        self.turn(key)
        rest = directory_of(settings_of(agents={"entries": {"main": {}}}))
        self.door.door.take(replace(self.door.behind, directory=rest), self.door.rules)
        self.assertEqual(self.call("sessions.describe", key="Agent:Work:a")["session"]["key"], key)
        self.assertEqual(self.call("sessions.resolve", key=key)["agentId"], "work")
        (preview,) = self.call("sessions.preview", keys=[key])["previews"]
        self.assertEqual(preview["status"], "ok")
        self.assertEqual(len(self.call("chat.history", sessionKey=key)["messages"]), 2)
        self.assertEqual(len(self.call("chat.history", sessionKey=key, agentId="work")["messages"]), 2)
        unknown = 'unknown agent id "work"'
        self.assertIn(unknown, self.problem("chat.history", sessionKey=key, agentId="main"))
        self.assertIn(unknown, self.problem("chat.send", sessionKey=key, message="x", idempotencyKey="k"))
        for method in ("sessions.patch", "sessions.reset", "sessions.compact"):
            self.assertIn(unknown, self.problem(method, key=key))
        self.assertTrue(self.call("sessions.delete", key=key)["deleted"])
        self.assertIn(unknown, self.problem("sessions.delete", key=key))
