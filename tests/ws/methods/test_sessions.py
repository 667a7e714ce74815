from __future__ import annotations

import uuid
from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import SessionPatch
from openclaw_twisted.content import Usage
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import run_request, user
from tests.ws.rig import MemoryClient, RigTestCase

CHOSEN: dict[str, Any] = {
    "agents": {"defaults": {"model": "p/m"}, "entries": {"main": {}, "work": {"model": "p/w"}}},
    "models": {
        "providers": {
            "p": {"baseUrl": "http://127.0.0.1:9/v1", "models": [{"id": "m", "contextWindow": 9000}]}
        }
    },
}


class SessionsTestCase(RigTestCase):
    def setUp(self) -> None:
        self.door = self.rig(**CHOSEN)
        self.client = self.door.client()
        self.old = self.door.client(3)

    def turn(self, key: str, question: str = "q", answer: str = "a", **more: Any) -> None:
        self.door.runs.provider.add(reply(answer, usage=Usage(10, 2, 12)))
        agent_id = key.split(":")[1]
        self.door.runs.runner.start(
            run_request(user(question), key=key, agent_id=agent_id, models=("p/m",), **more)
        )

    def call(self, method: str, client: MemoryClient | None = None, **params: Any) -> Any:
        client = client or self.client
        client.request("1", method, **params)
        response = next(frame for frame in client.frames() if frame["type"] == "res")
        self.assertTrue(response["ok"], response)
        return response["payload"]

    def problem(self, method: str, client: MemoryClient | None = None, **params: Any) -> str:
        client = client or self.client
        client.request("1", method, **params)
        response = next(frame for frame in client.frames() if frame["type"] == "res")
        self.assertFalse(response["ok"], response)
        self.assertEqual(response["error"]["code"], "INVALID_REQUEST")
        message = response["error"]["message"]
        assert isinstance(message, str)
        return message

    def choose(self, key: str, **chosen: Any) -> None:
        store = self.door.runs.store
        self.successResultOf(Deferred.fromCoroutine(store.patch(key, SessionPatch(**chosen), 0.0)))


class ListTests(SessionsTestCase):
    def keys(self, **params: Any) -> list[str]:
        return [row["key"] for row in self.call("sessions.list", **params)["sessions"]]

    def test_a_session_is_shown_with_what_it_has(self) -> None:
        self.door.clock.advance(5)
        self.turn("agent:main:a", "How are you?", "Well.")
        self.choose("agent:main:a", label="Chat", thinking_level="high", options={"fastMode": "auto"})
        listed = self.call("sessions.list", includeDerivedTitles=True, includeLastMessage=True)
        (row,) = listed.pop("sessions")
        uuid.UUID(row.pop("sessionId"))
        self.assertEqual(
            row,
            {
                "key": "agent:main:a",
                "kind": "direct",
                "updatedAt": 5000,
                "startedAt": 5000,
                "label": "Chat",
                "displayName": "Chat",
                "derivedTitle": "How are you?",
                "lastMessagePreview": "Well.",
                "modelProvider": "p",
                "model": "m",
                "contextTokens": 9000,
                "inputTokens": 10,
                "outputTokens": 2,
                "totalTokens": 12,
                "totalTokensFresh": True,
                "thinkingLevel": "high",
                "fastMode": "auto",
                "agentId": "main",
                "hasActiveRun": False,
            },
        )
        self.assertEqual(
            listed,
            {
                "ts": 1_700_000_005_500,
                "path": "sessions.sqlite3",
                "count": 1,
                "defaults": {"modelProvider": "p", "model": "m", "contextTokens": 9000},
                "totalCount": 1,
                "limitApplied": 100,
                "nextOffset": None,
                "hasMore": False,
            },
        )

    def test_what_the_control_page_leaves_out(self) -> None:
        self.turn("agent:main:a")
        left_out = {"excludeSubagents": True, "excludeCron": True, "excludeSystem": True}
        self.assertEqual(
            self.keys(includeGlobal=False, includeActivitySummary=True, **left_out), ["agent:main:a"]
        )
        self.assertEqual(self.keys(hasBoard=True, archived="all"), [])

    def test_those_at_work(self) -> None:
        keys = ("agent:main:a", "agent:main:b", "agent:work:c")
        for key in keys:
            self.turn(key)
        self.assertEqual(self.keys(activeOnly=True), [])
        for key in keys[1:]:
            self.door.clock.advance(1)
            self.door.runs.provider.add([Pause()])
            request = run_request(key=key, agent_id=key.split(":")[1], models=("p/m",), run_id=key)
            self.door.runs.runner.start(request)
        self.assertEqual(self.keys(activeOnly=True, archived="all"), ["agent:work:c", "agent:main:b"])
        self.assertEqual(self.keys(activeOnly=True, agentId="main"), ["agent:main:b"])
        page = self.call("sessions.list", activeOnly=True, limit=1)
        self.assertEqual((page["count"], page["totalCount"], page["nextOffset"]), (1, 2, 1))

    def test_version_3_gets_what_it_knows(self) -> None:
        self.turn("agent:main:a")
        listed = self.call("sessions.list", self.old)
        self.assertEqual(set(listed), {"ts", "path", "count", "defaults", "sessions"})
        self.assertLessEqual({"agentId", "hasActiveRun", "startedAt"} & set(listed["sessions"][0]), set())

    def test_an_active_run_is_told_whatever_door_it_came_through(self) -> None:
        self.door.runs.provider.add([Pause()])
        self.door.runs.runner.start(run_request(key="agent:main:a", models=("p/m",)))
        (row,) = self.call("sessions.list")["sessions"]
        self.assertTrue(row["hasActiveRun"])

    def test_requests_without_a_session_are_listed_when_they_are_asked_for(self) -> None:
        self.turn("agent:main:openai:1")
        self.turn("agent:main:a")
        self.assertEqual(self.keys(), ["agent:main:a"])
        self.assertEqual(len(self.keys(includeUnknown=True)), 2)

    def test_a_listing_can_be_narrowed_and_paged(self) -> None:
        for number, key in enumerate(("agent:main:a", "agent:work:b", "agent:main:c")):
            self.door.clock.advance(2)
            self.turn(key, f"question {number}")
        self.assertEqual(self.keys(), ["agent:main:c", "agent:work:b", "agent:main:a"])
        self.assertEqual(self.keys(agentId="Work"), ["agent:work:b"])
        self.assertEqual(self.keys(search="QUESTION 2"), ["agent:main:c"])
        self.choose("agent:main:a", label="Mine")
        self.assertEqual(self.keys(label="Mine"), ["agent:main:a"])
        self.assertEqual(self.keys(label="Yours"), [])
        self.assertEqual(self.keys(archived=True), [])
        page = self.call("sessions.list", limit=2)
        self.assertEqual((page["hasMore"], page["nextOffset"], page["totalCount"]), (True, 2, 3))
        page = self.call("sessions.list", limit=2, offset=2)
        self.assertEqual((page["count"], page["hasMore"], page["nextOffset"]), (1, False, None))

    def test_only_what_was_used_lately(self) -> None:
        self.turn("agent:main:a")
        self.assertEqual(self.keys(activeMinutes=1), [])  # the runner's clock began long before the door's

    def test_bad_params(self) -> None:
        self.assertIn("at /limit", self.problem("sessions.list", limit=0))
        for number in (2**53, 2**63, 10**400):
            for params in ({"limit": number}, {"offset": number}, {"activeMinutes": number}):
                given: dict[str, Any] = {**params}
                self.assertIn(f"at /{next(iter(params))}", self.problem("sessions.list", **given))
        self.assertEqual(self.call("sessions.list", offset=2**53 - 1, activeMinutes=2**53 - 1)["count"], 0)
        self.assertIn("unexpected property 'foo'", self.problem("sessions.list", foo=1))


class FollowTests(SessionsTestCase):
    def test_following_the_list(self) -> None:
        self.assertEqual(self.call("sessions.subscribe"), {"subscribed": True})
        self.turn("agent:main:a")
        answer = self.call("sessions.subscribe", limit=5)
        self.assertEqual((answer["subscribed"], answer["list"]["count"]), (True, 1))
        self.assertEqual(self.call("sessions.unsubscribe"), {"subscribed": False})

    def test_following_messages(self) -> None:
        answer = self.call("sessions.messages.subscribe", key="main")
        self.assertEqual(answer, {"subscribed": True, "key": "agent:main:main"})
        answer = self.call("sessions.messages.unsubscribe", key="agent:main:main")
        self.assertEqual(answer, {"subscribed": False, "key": "agent:main:main"})
        self.assertIn("must have required property 'key'", self.problem("sessions.messages.subscribe"))


class FindTests(SessionsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.turn("agent:work:a", "Hello", "Hi")
        (row,) = self.call("sessions.list")["sessions"]
        self.session_id = row["sessionId"]

    def test_describing(self) -> None:
        session = self.call("sessions.describe", key="agent:work:a", includeDerivedTitles=True)["session"]
        self.assertEqual((session["sessionId"], session["derivedTitle"]), (self.session_id, "Hello"))
        self.assertEqual((session["modelProvider"], session["model"]), ("p", "w"))
        self.assertIsNone(self.call("sessions.describe", key="none")["session"])

    def test_resolving(self) -> None:
        self.choose("agent:work:a", label="Mine")
        found = {"ok": True, "key": "agent:work:a", "agentId": "work"}
        for asked in (
            {"key": "agent:work:a"},
            {"key": "a", "agentId": "work"},
            {"sessionId": self.session_id},
            {"shortId": self.session_id[:8]},
            {"label": "Mine"},
        ):
            self.assertEqual(self.call("sessions.resolve", **asked), found)
        self.assertEqual(
            self.call("sessions.resolve", self.old, label="Mine"), {"ok": True, "key": "agent:work:a"}
        )

    def test_resolving_what_an_address_in_the_control_page_names(self) -> None:
        self.turn("agent:main:a")
        named: dict[str, Any] = {
            "agentId": "main",
            "includeGlobal": True,
            "includeUnknown": True,
            "allowMissing": True,
        }
        found = self.call(
            "sessions.resolve", reference={"key": "agent:main:a", "slug": "how-are-you"}, **named
        )
        self.assertEqual(found, {"ok": True, "key": "agent:main:a", "agentId": "main"})
        self.assertEqual(self.call("sessions.resolve", reference={"key": "b"}, **named), {"ok": False})
        self.assertIn("No session found: b", self.problem("sessions.resolve", reference={"key": "b"}))

    def test_many_requests_without_a_session_do_not_hide_one(self) -> None:
        short_id = self.session_id[:8]
        for number in range(101):
            self.turn(f"agent:main:openai:{short_id}-{number}")
        self.assertEqual(self.call("sessions.resolve", shortId=short_id)["key"], "agent:work:a")

    def test_an_id_that_a_client_chose_leads_to_its_session(self) -> None:
        self.turn("agent:main:explicit:mine")
        self.assertEqual(self.call("sessions.resolve", sessionId="mine")["key"], "agent:main:explicit:mine")

    def test_resolving_what_is_not_there(self) -> None:
        self.assertEqual(self.problem("sessions.resolve", key="none"), "No session found: none")
        self.assertEqual(self.problem("sessions.resolve", label="Yours"), "No session found: Yours")
        self.assertEqual(self.problem("sessions.resolve", sessionId="x"), "No session found: x")
        self.assertIn("must have one of the properties", self.problem("sessions.resolve"))
        self.assertEqual(self.call("sessions.resolve", key="none", allowMissing=True), {"ok": False})

    def test_previews(self) -> None:
        self.turn("agent:work:a", "x" * 50, "bye")
        self.choose("agent:main:empty", label="e")
        answer = self.call(
            "sessions.preview",
            keys=["agent:work:a", "empty", "none", "agent:nobody:x"],
            limit=3,
            maxChars=20,
        )
        items = [("assistant", "Hi"), ("user", "x" * 20), ("assistant", "bye")]
        self.assertEqual(
            answer["previews"],
            [
                {"key": "agent:work:a", "status": "ok", "items": [{"role": r, "text": t} for r, t in items]},
                {"key": "empty", "status": "empty", "items": []},
                {"key": "none", "status": "missing", "items": []},
                {"key": "agent:nobody:x", "status": "error", "items": []},
            ],
        )

    def test_a_reported_id_leads_an_agent_to_its_session(self) -> None:
        self.door.runs.provider.add(reply("again"))
        self.client.request("k", "agent", message="more", idempotencyKey="k", sessionId=self.session_id)
        accepted, _ = self.client.frames()
        self.assertEqual(accepted["payload"]["sessionKey"], "agent:work:a")
