from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted import session_key
from openclaw_twisted.boundaries import Retention, SessionChange
from openclaw_twisted.content import Usage
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import run_request, user
from tests.ws.rig import MemoryClient, RigTestCase

KEY = "agent:main:a"


class NewsCase(RigTestCase):
    def setUp(self):
        self.door = self.rig()

    def client(self, protocol: int = 4, *methods: str, **params: Any) -> MemoryClient:
        """Return a client that has called these methods."""
        client = self.door.client(protocol)
        for method in methods:
            client.request("s", method, **params)
            self.assertTrue(client.frame()["ok"])
        return client

    def run_in(self, key: str | None = KEY, *script: Any) -> Any:
        """Have a run of another door."""
        self.door.runs.provider.add(script or reply("Hello", usage=Usage(3, 2, 5)))
        return self.door.runs.runner.start(run_request(user("hi"), run_id="r", key=key))


class ChangedTests(NewsCase):
    def test_a_run_as_it_goes(self):
        client = self.client(4, "sessions.subscribe")
        pause = Pause()
        self.run_in(KEY, pause, *reply("Hello"))
        pause.go_on()
        told = client.heard("sessions.changed")
        self.assertEqual([payload["reason"] for payload in told], ["start", "message", "end"])
        self.assertEqual({(payload["sessionKey"], payload["agentId"]) for payload in told}, {(KEY, "main")})
        last = told[-1]["session"]
        self.assertEqual((last["key"], last["hasActiveRun"]), (KEY, False))
        numbers = [event.get("seq") for event in client.events if event["event"] == "sessions.changed"]
        self.assertEqual(numbers, [None, None, None])

    def test_what_others_do_to_sessions(self):
        client, old = self.client(4, "sessions.subscribe"), self.client(3, "sessions.subscribe")
        other = self.door.client()
        for method, params in [
            ("sessions.create", {"key": "b"}),
            ("sessions.patch", {"key": "b", "label": "Bee"}),
            ("sessions.reset", {"key": "b"}),
            ("sessions.delete", {"key": "b"}),
        ]:
            other.request("1", method, **params)
            self.assertTrue(other.frame()["ok"], method)
        told = client.heard("sessions.changed")
        self.assertEqual([payload["reason"] for payload in told], ["create", "patch", "reset", "delete"])
        self.assertEqual(told[1]["session"]["label"], "Bee")
        self.assertNotIn("session", told[-1])
        self.assertEqual(told[-1]["sessionId"], told[-2]["session"]["sessionId"])
        self.assertEqual(set(old.heard("sessions.changed")[-1]), {"sessionKey", "reason", "ts"})

    def test_version_3_gets_no_more_than_it_knows(self):
        client = self.client(3, "sessions.subscribe")
        self.run_in()
        payload = client.heard("sessions.changed")[0]
        self.assertLessEqual(set(payload), {"sessionKey", "reason", "ts", "session"})

    def test_who_does_not_follow_hears_nothing(self):
        plain, gone = self.client(4), self.client(4, "sessions.subscribe", "sessions.unsubscribe")
        self.run_in()
        for client in (plain, gone):
            self.assertEqual(client.heard("sessions.changed"), [])

    def test_requests_without_a_session_are_no_news(self):
        client = self.client(4, "sessions.subscribe")
        self.run_in(None)
        self.assertEqual(client.heard("sessions.changed"), [])

    def test_who_has_left_is_forgotten(self):
        client = self.client(4, "sessions.subscribe")
        client.request("m", "sessions.messages.subscribe", key=KEY)
        client.frames()
        following = self.door.door._broadcast.following
        self.run_in()
        self.assertEqual((len(following.sessions), len(following.messages(KEY))), (1, 1))
        self.assertEqual(set(following.told), {KEY})
        client.hang_up()
        self.assertEqual((len(following.sessions), len(following.messages(KEY))), (0, 0))
        self.assertEqual(following.told, {})


class MessageTests(NewsCase):
    def test_what_a_turn_adds(self):
        self.run_in()
        client = self.client(4, "sessions.messages.subscribe", key="a")
        self.door.runs.provider.add(reply("Again"))
        self.door.runs.runner.start(run_request(user("more"), run_id="s", key=KEY))
        asked, said = client.heard("session.message")
        self.assertEqual(
            (asked["sessionKey"], asked["runId"], asked["messageId"], asked["messageSeq"]),
            (KEY, "s", "s:3", 3),
        )
        self.assertEqual((asked["message"]["role"], said["message"]["role"]), ("user", "assistant"))
        self.assertEqual(asked["message"]["idempotencyKey"], "s:user")
        self.assertEqual(said["message"]["content"], [{"type": "text", "text": "Again"}])
        self.assertEqual(said["message"]["__openclaw"]["seq"], 4)
        self.assertEqual(client.heard("sessions.changed"), [])

    def test_a_session_that_begins_again_after_its_deletion(self):
        client = self.client(4, "sessions.messages.subscribe", key="a")
        self.run_in()
        self.run_in()
        deleting = self.door.runs.runner.sessions.delete(session_key.parse(KEY, "main"))
        self.successResultOf(Deferred.fromCoroutine(deleting))
        self.run_in()
        told = [message["messageSeq"] for message in client.heard("session.message")]
        self.assertEqual(told, [1, 2, 3, 4, 1, 2])

    def test_a_session_that_begins_again_after_maintenance_has_deleted_it(self):
        client = self.client(4, "sessions.messages.subscribe", key="a")
        self.run_in()
        self.run_in()
        old = Retention(unused_before=math.inf)
        pruned = self.successResultOf(Deferred.fromCoroutine(self.door.runs.store.prune(old)))
        self.assertEqual(pruned.sessions, 1)
        self.run_in()
        told = [message["messageSeq"] for message in client.heard("session.message")]
        self.assertEqual(told, [1, 2, 3, 4, 1, 2])

    def test_version_3(self):
        client = self.client(3, "sessions.messages.subscribe", key="a")
        self.run_in()
        asked, said = client.heard("session.message")
        self.assertEqual(set(asked), {"sessionKey", "messageId", "messageSeq", "message"})
        self.assertNotIn("__openclaw", said["message"])

    def test_other_sessions_are_not_told(self):
        client = self.client(4, "sessions.messages.subscribe", key="other")
        self.run_in()
        self.assertEqual(client.heard("session.message"), [])

    def test_nobody_is_told_twice(self):
        client = self.client(4, "sessions.messages.subscribe", key="a")
        self.run_in()
        again = SessionChange(session_key=KEY, agent_id="main", reason="message", at=1)
        self.door.runs.bus.announce(again)
        self.assertEqual(len(client.heard("session.message")), 2)
