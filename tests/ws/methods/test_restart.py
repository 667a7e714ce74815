"""A client that repeats its request after a restart hears what became of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.sessions.memory import MemoryStore
from tests.ws.rig import Rig, RigTestCase


class RestartTests(RigTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore(now=lambda: 1.0)

    def restarted(self, *scripts: Any) -> Rig:
        self.successResultOf(Deferred.fromCoroutine(self.store.close()))
        return self.rig(*scripts, store=self.store)

    def ask(self, door: Rig, method: str = "agent", **params: Any) -> list[Any]:
        client = door.client()
        client.request("1", method, **{"message": "hi", "idempotencyKey": "k"} | params)
        return client.frames()

    def test_a_finished_run_is_answered_and_not_run_again(self) -> None:
        _, before = self.ask(self.rig(reply("Hello"), store=self.store))
        door = self.restarted(reply("never"))
        (after,) = self.ask(door)
        self.assertEqual(after["payload"]["result"]["payloads"], before["payload"]["result"]["payloads"])
        self.assertEqual((after["payload"]["status"], after["payload"]["runId"]), ("ok", "k"))
        self.assertEqual(door.runs.provider.requests, [])
        (again,) = self.ask(door)
        self.assertEqual(again["payload"], after["payload"])

    def test_a_run_that_was_cut_off_is_told_and_not_run_again(self) -> None:
        self.ask(self.rig([Pause()], store=self.store))
        door = self.restarted(reply("never"))
        (answer,) = self.ask(door)
        self.assertFalse(answer["ok"])
        self.assertEqual(answer["payload"]["status"], "error")
        self.assertIn("The gateway stopped while this run was under way", answer["error"]["message"])
        self.assertEqual(door.runs.provider.requests, [])

    def test_messages_that_were_sent(self) -> None:
        self.ask(self.rig(reply("Hello"), store=self.store), "chat.send", sessionKey="main")
        door = self.restarted(reply("of the other method"))
        (answer,) = self.ask(door, "chat.send", sessionKey="main")
        self.assertEqual(answer["payload"], {"runId": "k", "status": "ok"})
        accepted, _ = self.ask(door)
        self.assertEqual(accepted["payload"]["status"], "accepted")
