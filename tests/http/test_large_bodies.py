"""Bodies that take long to read, read where they hold nobody up."""

from __future__ import annotations

import json
import threading
from typing import Any

from twisted.web.test.requesthelper import DummyRequest

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.agent_runs import LARGE_BODY_BYTES, AgentRuns
from openclaw_twisted.http.endpoint import Call
from openclaw_twisted.providers.scripted import reply
from openclaw_twisted.runs.repeats import Repeats
from openclaw_twisted.testing import real_reactor
from tests.http.door import DoorCase

__all__ = ["LargeBodies"]

MANY = [{"role": "user", "content": f"message {at}"} for at in range(20_000)]


class LargeBodies(DoorCase):
    async def test_only_a_large_body_is_read_in_a_thread(self) -> None:
        self.open()
        runs = AgentRuns(
            self.door.runs.runner,
            self.door.directory,
            self.door.settings.gateway,
            clock=real_reactor(),
            repeats=Repeats(real_reactor(), keep_seconds=1, max_kept=1),
            timeout_seconds=1,
        )
        request: Any = DummyRequest([b""])
        for size, apart in ((LARGE_BODY_BYTES, False), (LARGE_BODY_BYTES + 1, True)):
            call = Call(request=request, body=bytes(size), caller="test")
            self.assertEqual(await runs.read(call, threading.get_ident) != threading.get_ident(), apart)
            with self.assertRaises(InvalidRequestError):
                await runs.read(call, refuse)

    async def test_a_large_request_is_answered_as_any_other(self) -> None:
        self.open(reply("ok"))
        self.assertGreater(len(json.dumps(MANY)), LARGE_BODY_BYTES)
        self.assertEqual((await self.chat(messages=MANY)).status, 200)
        self.assertEqual(len(self.door.runs.provider.requests[0].messages), len(MANY))
        wrong = await self.chat(messages=[*MANY, {"role": "nobody"}])
        self.assertEqual((wrong.status, wrong.error["param"]), (400, f"messages[{len(MANY)}].role"))


def refuse() -> None:
    raise InvalidRequestError("no")
