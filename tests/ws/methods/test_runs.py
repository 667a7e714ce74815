from __future__ import annotations

from typing import Any

from openclaw_twisted.content import Usage
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.testing import run_request
from tests.ws.rig import RigTestCase


class RunsTests(RigTestCase):
    def setUp(self):
        self.door = self.rig(gateway={"limits": {"tickSeconds": 100}})
        self.client = self.door.client()

    def start(self, run_id: str, *script: Any, key: str | None = None) -> Any:
        """Start a run as another door would."""
        self.door.runs.provider.add(script)
        run = self.door.runs.runner.start(run_request(run_id=run_id, key=key))
        run.result().addErrback(lambda _: None)
        return run

    def listed(self, **params: Any) -> Any:
        self.client.request("l", "runs.list", **params)
        response = self.client.frame()
        return response["payload"] if response["ok"] else response["error"]["message"]

    def ids(self, **params: Any) -> list[str]:
        return [run["runId"] for run in self.listed(**params)["runs"]]

    def test_nothing_runs(self):
        self.start("old", *reply("Hi"))
        self.assertEqual(self.listed(), {"ts": 1_700_000_000_500, "runs": []})

    def test_what_runs_and_what_waits_the_latest_first(self):
        self.door.clock.advance(2)
        self.start("a", Pause(), *reply("Hi"), key="agent:main:s")
        self.start("b", *reply("Hi"), key="agent:main:s")
        shared = {"sessionKey": "agent:main:s", "agentId": "main", "model": "scripted/m"}
        self.assertEqual(
            self.listed()["runs"],
            [
                {"runId": "b", "status": "queued", **shared},
                {"runId": "a", "status": "running", "startedAt": 2000, **shared},
            ],
        )

    def test_the_latest_that_have_ended(self):
        usage = {"input": 1, "output": 2, "total": 3}
        self.start("bad", UpstreamError("The model is out."), key="agent:main:s")
        self.door.clock.advance(1)
        self.start("good", *reply("Hi", usage=Usage(1, 2, 3)), key="agent:main:s")
        good, bad = self.listed(limit=5)["runs"]
        self.assertEqual(
            (good["status"], good["endedAt"], good["stopReason"], good["usage"]),
            ("finished", 1000, "stop", usage),
        )
        self.assertEqual((bad["status"], bad["error"]), ("failed", "The model is out."))
        self.assertNotIn("usage", bad)

    def test_the_limit_is_for_those_that_have_ended_and_nobody_is_told_twice(self):
        for number in range(3):
            self.start(f"old{number}", *reply("Hi"), key="agent:main:s")
            self.door.clock.advance(1)
        self.start("now", Pause(), *reply("Hi"), key="agent:main:t")
        self.assertEqual(self.ids(limit=2), ["now", "old2", "old1"])
        self.assertEqual(self.ids(limit=9), ["now", "old2", "old1", "old0"])

    def test_of_one_session(self):
        self.start("s", *reply("Hi"), key="agent:main:s")
        self.start("t", *reply("Hi"), key="agent:main:t")
        self.start("u", Pause(), *reply("Hi"), key="agent:main:t")
        self.assertEqual(self.ids(limit=9, sessionKey="t"), ["u", "t"])
        self.assertEqual(self.ids(sessionKey="agent:main:s"), [])

    def test_params_that_are_none(self):
        self.assertIn("invalid runs.list params: at /limit", self.listed(limit=0))
        self.assertIn("unknown agent id", self.listed(sessionKey="agent:nobody:s"))

    def test_it_needs_to_read(self):
        self.client = self.door.client(scopes=[])
        self.assertIn("missing scope: operator.read", self.listed())
