from __future__ import annotations

from typing import Any

from openclaw_twisted.boundaries import Listener
from openclaw_twisted.errors import CancelledRunError, UpstreamError
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.runs.feed import Feed, Subscription
from openclaw_twisted.testing import run_request
from tests.ws.rig import RigTestCase


class CountedFeed(Feed):
    """Knows how many listen."""

    def __init__(self) -> None:
        super().__init__()
        self.listening = 0

    def subscribe(self, listener: Listener) -> Subscription:
        self.listening += 1
        return super().subscribe(listener)

    def leave(self, subscription: Subscription) -> None:
        self.listening -= 1
        super().leave(subscription)


class WaitTests(RigTestCase):
    def setUp(self):
        self.door = self.rig(gateway={"limits": {"tickSeconds": 100}})
        self.client = self.door.client()

    def start(self, *script: Any, run_id: str = "r") -> Any:
        """Start a run as another door would."""
        self.door.runs.provider.add(script)
        run = self.door.runs.runner.start(run_request(run_id=run_id))
        run.result().addErrback(lambda _: None)
        return run

    def wait(self, **params: Any) -> list[Any]:
        self.client.request("w", "agent.wait", **{"runId": "r"} | params)
        return [frame["payload"] for frame in self.client.frames()]

    def test_a_run_of_another_door(self):
        pause = Pause()
        self.door.clock.advance(2)
        self.start(pause, *reply("Hi"))
        self.assertEqual(self.wait(), [])
        self.door.clock.advance(1)
        pause.go_on()
        self.assertEqual(
            self.client.frame()["payload"],
            {"runId": "r", "status": "ok", "startedAt": 2000, "endedAt": 3000, "stopReason": "stop"},
        )

    def test_a_run_that_lasts_longer(self):
        run = self.start(Pause())
        self.assertEqual(self.wait(timeoutMs=0), [])
        self.door.clock.advance(0)
        self.assertEqual(self.client.frame()["payload"], {"runId": "r", "status": "timeout"})
        self.assertEqual(self.wait(), [])
        self.door.clock.advance(30)
        self.assertEqual(self.client.frame()["payload"], {"runId": "r", "status": "timeout"})
        self.assertEqual(run.status, "running")

    def test_who_waited_in_vain_hears_nothing_more(self):
        feed = self.start(Pause()).feed = CountedFeed()
        for _ in range(3):
            self.wait(timeoutMs=0)
            self.assertEqual(feed.listening, 1)
            self.door.clock.advance(0)
            self.assertEqual(feed.listening, 0)
        self.wait(timeoutMs=10)
        self.client.hang_up()
        self.assertEqual(feed.listening, 0)

    def test_a_run_that_nobody_knows_may_yet_start(self):
        self.assertEqual(self.wait(), [])
        self.start(*reply("other"), run_id="other")
        self.assertEqual(self.client.frames(), [])
        self.start(*reply("Hi"))
        self.assertEqual(self.client.frame()["payload"]["status"], "ok")

    def test_how_runs_end(self):
        self.start(UpstreamError("It broke off."), run_id="a")
        for script, end, told in [
            (Pause(), CancelledRunError("x"), {"status": "timeout", "stopReason": "rpc"}),
            (Pause(), UpstreamError("oh"), {"status": "error", "error": "oh"}),
        ]:
            run = self.start(script)
            self.assertEqual(self.wait(), [])
            run.cancel(end)
            payload = self.client.frame()["payload"]
            self.assertLessEqual(told.items(), payload.items())

    def test_runs_that_have_ended_are_remembered(self):
        self.door.runs.provider.add(reply("one"), reply("two"))
        for key, method, params in [
            ("k1", "agent", {"message": "hi"}),
            ("k2", "chat.send", {"message": "hi", "sessionKey": "main"}),
        ]:
            self.client.request(key, method, idempotencyKey=key, **params)
            self.client.frames()
            (payload,) = self.wait(runId=key)
            self.assertEqual((payload["runId"], payload["status"]), (key, "ok"))

    def test_runs_of_other_doors_are_looked_up_in_the_store(self):
        self.door.clock.advance(2)
        self.start(*reply("Hi"))
        self.start(UpstreamError("It broke off."), run_id="bad")
        self.start(Pause(), run_id="stopped").cancel(CancelledRunError("x"))
        told = {"runId": "r", "status": "ok", "startedAt": 2000, "endedAt": 2000, "stopReason": "stop"}
        self.assertEqual(self.wait(), [told])
        (bad,), (stopped,) = self.wait(runId="bad"), self.wait(runId="stopped")
        self.assertEqual((bad["status"], bad["error"]), ("error", "It broke off."))
        self.assertEqual((stopped["status"], stopped["stopReason"]), ("timeout", "rpc"))
        self.assertEqual(len(self.door.runs.runner._watchers), 1)

    def test_who_is_gone_waits_no_more(self):
        self.start(Pause())
        self.wait()
        watchers = self.door.runs.runner._watchers
        self.assertEqual(len(watchers), 2)
        self.client.hang_up()
        self.assertEqual(len(watchers), 0)

    def test_what_cannot_be(self):
        for params in ({"runId": ""}, {"timeoutMs": -1}, {"foo": 1}):
            self.client.request("w", "agent.wait", **{"runId": "r"} | params)
            self.assertIn("invalid agent.wait params", self.client.frame()["error"]["message"])
