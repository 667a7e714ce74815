from __future__ import annotations

from dataclasses import replace
from typing import Any

from openclaw_twisted.providers.scripted import Pause, reply
from openclaw_twisted.runs.run import Run
from openclaw_twisted.testing import run_request
from tests.runs.test_runner import SlowStore
from tests.ws.rig import RigTestCase, directory_of, settings_of


class AbortTests(RigTestCase):
    def setUp(self):
        self.door = self.rig()
        self.client = self.door.client()

    def start(self, key: str = "agent:main:main", **more: Any) -> Run:
        """Start a run as another door would."""
        self.door.runs.provider.add([Pause()])
        return self.door.runs.runner.start(run_request(key=key, **more))

    def abort(self, **params: Any) -> Any:
        self.client.request("1", "chat.abort", **params)
        response = self.client.frame()
        return response["payload"] if response["ok"] else response["error"]

    def test_all_runs_of_a_session_also_those_that_wait(self):
        runs = [self.start(), self.start(), self.start("agent:main:other")]
        self.assertEqual(
            self.abort(sessionKey="main"),
            {"ok": True, "aborted": True, "runIds": [run.request.run_id for run in runs[:2]]},
        )
        self.assertEqual([run.status for run in runs], ["cancelled", "cancelled", "running"])

    def test_one_run(self):
        first, second = self.start(), self.start()
        run_id = second.request.run_id
        answer = self.abort(sessionKey="agent:main:main", runId=run_id, preserveSideRuns=True)
        self.assertEqual(answer["runIds"], [run_id])
        self.assertEqual((first.status, second.status), ("running", "cancelled"))

    def test_a_run_of_an_agent_that_was_removed(self):
        door = self.rig(agents={"defaults": {"model": "scripted/m"}, "entries": {"main": {}, "work": {}}})
        self.door, self.client = door, door.client()
        run = self.start("agent:work:a", agent_id="work")
        door.door.take(replace(door.behind, directory=directory_of(settings_of())), door.rules)
        unknown = 'unknown agent id "work"'
        self.assertIn(unknown, self.abort(sessionKey="agent:work:b")["message"])
        self.assertIn(unknown, self.abort(sessionKey="agent:work:a", agentId="main")["message"])
        self.assertTrue(self.abort(sessionKey="agent:work:a")["aborted"])
        self.assertEqual(run.status, "cancelled")

    def test_nothing_to_stop(self):
        idle = {"ok": True, "aborted": False, "runIds": []}
        self.assertEqual(self.abort(sessionKey="main"), idle)
        self.assertEqual(self.abort(sessionKey="main", runId="unknown"), idle)

    def test_a_run_whose_answer_is_just_being_stored(self):
        store = SlowStore()
        door = self.rig(reply("Hi"), store=store)
        self.client = door.client()
        run = door.runs.runner.start(run_request(key="agent:main:main"))
        self.assertEqual(self.abort(sessionKey="main"), {"ok": True, "aborted": False, "runIds": []})
        store.kept.callback(None)
        self.assertEqual(run.status, "finished")

    def test_a_run_of_another_session(self):
        run = self.start("agent:main:other")
        old = self.door.client(3)
        old.request("1", "chat.abort", sessionKey="main", runId=run.request.run_id)
        self.assertEqual(old.frame()["error"]["message"], "runId does not match sessionKey")
        self.assertEqual(run.status, "running")
        self.assertTrue(self.abort(sessionKey="main", runId=run.request.run_id)["aborted"])

    def test_what_cannot_be(self):
        bad: list[tuple[dict[str, Any], str]] = [
            ({}, "invalid chat.abort params: must have required property 'sessionKey'"),
            ({"sessionKey": ""}, "at /sessionKey: expected `str` of length >= 1"),
            ({"sessionKey": "main", "agentId": "x"}, 'invalid chat.abort params: unknown agent id "x"'),
            ({"sessionKey": "main", "x": 1}, "at root: unexpected property 'x'"),
        ]
        for params, message in bad:
            self.assertIn(message, self.abort(**params)["message"])

    def test_it_needs_the_scope_to_write(self):
        self.client = self.door.client(scopes=["operator.read"])
        self.assertEqual(self.abort(sessionKey="main")["details"]["missingScope"], "operator.write")
