"""A client that repeats its request after a restart hears what became of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from openclaw_twisted.boundaries import Recollection
from openclaw_twisted.errors import StorageError
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.sessions.memory import MemoryStore
from openclaw_twisted.testing import run_request
from tests.ws.rig import Rig, RigTestCase


class BusyStore(MemoryStore):
    """Answers what is recalled when the test says so, in order."""

    def __init__(self) -> None:
        super().__init__(now=lambda: 1.0)
        self.asked: list[Deferred[None]] = []

    async def recall(self, scope: str, key: str) -> Recollection | None:
        self.asked.append(Deferred())
        await self.asked[-1]
        return await super().recall(scope, key)

    def answer(self) -> None:
        asked, self.asked = self.asked, []
        for one in asked:
            one.callback(None)


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

    def test_who_stops_what_is_still_looked_up_stops_it(self) -> None:
        store = self.store = BusyStore()
        door = self.rig([Pause()], [Pause()], store=store)
        client = door.client()
        for params in ({}, {"runId": "k2"}):
            key = params.get("runId", "k1")
            client.request("1", "chat.send", sessionKey="main", message="hi", idempotencyKey=key)
            client.request("2", "chat.abort", sessionKey="main", **params)
            self.assertEqual(client.frames(), [])
            store.answer()
            sent, stopped = client.frames()
            self.assertEqual(sent["payload"], {"runId": key, "status": "started"})
            self.assertEqual(stopped["payload"], {"ok": True, "aborted": True, "runIds": [key]})
            self.assertEqual(door.runs.runner.active(), ())

    def test_a_store_that_fails_keeps_nobody_from_stopping(self) -> None:
        class BrokenStore(MemoryStore):
            async def recall(self, scope: str, key: str) -> Recollection | None:
                raise StorageError("The disk is gone.")

        door = self.rig([Pause()], store=BrokenStore())
        run = door.runs.runner.start(run_request(key="main"))
        client = door.client()
        client.request("1", "chat.abort", sessionKey="main")
        self.assertTrue(client.frame()["payload"]["aborted"])
        self.assertEqual(run.status, "cancelled")

    def test_messages_that_were_sent(self) -> None:
        self.ask(self.rig(reply("Hello"), store=self.store), "chat.send", sessionKey="main")
        door = self.restarted(reply("of the other method"))
        (answer,) = self.ask(door, "chat.send", sessionKey="main")
        self.assertEqual(answer["payload"], {"runId": "k", "status": "ok"})
        accepted, _ = self.ask(door)
        self.assertEqual(accepted["payload"]["status"], "accepted")
