from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.client import Session
from openclaw_twisted.cli.conversation import Conversation
from openclaw_twisted.cli.ending import CommandError
from openclaw_twisted.cli.stopping import listed_runs, stop_run

__all__ = ["OpenClawTests"]


class OpenClawTests(SynchronousTestCase):
    """A gateway that has no `runs.list`, and insists on the session of a run."""

    def setUp(self) -> None:
        self.conversation = Conversation(Clock(), self)
        self.asked: list[str] = []
        self.busy = ["agent:main:a", "agent:main:b", "agent:main:c"]

    def send_frame(self, frame: bytes) -> None:
        request = json.loads(frame)
        response = {"type": "res", "id": request["id"], "ok": True}
        if request["method"] == "sessions.list":
            rows = [{"key": key, "hasActiveRun": True} for key in self.busy]
            response["payload"] = {"sessions": [*rows, {"key": "agent:main:idle"}]}
        else:
            key = request["params"]["sessionKey"]
            self.asked.append(key)
            response["payload"] = {"ok": True, "aborted": key == "agent:main:b", "runIds": []}
            if key == "agent:main:a":
                response |= {
                    "ok": False,
                    "error": {"code": "X", "message": "runId does not match sessionKey"},
                }
        self.conversation.received(json.dumps(response).encode())

    def close(self, code: int, reason: str) -> None:
        raise AssertionError

    def abort(self) -> None:
        raise AssertionError

    def stop(self) -> Any:
        session = Session(self.conversation, "main", ("chat.abort", "sessions.list"))
        return json.loads(self.successResultOf(Deferred.fromCoroutine(stop_run(session, "r"))))

    def test_the_session_of_a_run_is_found(self) -> None:
        self.assertTrue(self.stop()["aborted"])
        self.assertEqual(["agent:main:a", "agent:main:b"], self.asked)

    def test_nothing_is_at_work(self) -> None:
        self.busy = []
        self.assertFalse(self.stop()["aborted"])
        self.assertEqual(["main"], self.asked)

    def test_it_cannot_list_runs(self) -> None:
        session = Session(self.conversation, "main", ("chat.abort", "sessions.list"))
        listing = Deferred.fromCoroutine(listed_runs(session, {}))
        error = self.failureResultOf(listing, CommandError).value
        self.assertIn("a method of openclaw-twisted's gateway only", error.message)
