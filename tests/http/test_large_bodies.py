"""Bodies that take long to read, read where they hold nobody up."""

from __future__ import annotations

import json
import threading
from typing import Any

from twisted.web.test.requesthelper import DummyRequest

from openclaw_twisted.auth.scopes import ALL
from openclaw_twisted.config.settings import ChatCompletionsSettings
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.agent_runs import LARGE_BODY_BYTES, AgentRuns
from openclaw_twisted.http.chat_completions import limits_of
from openclaw_twisted.http.chat_request import parse
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
            call = Call(request=request, body=bytes(size), caller="test", scopes=ALL)
            self.assertEqual(await runs.read(call, threading.get_ident) != threading.get_ident(), apart)
            with self.assertRaises(InvalidRequestError):
                await runs.read(call, refuse)

    async def test_a_large_request_is_answered_as_any_other(self) -> None:
        self.open(reply("ok"))
        self.assertGreater(len(json.dumps(MANY)), LARGE_BODY_BYTES)
        self.assertEqual((await self.chat(messages=MANY)).status, 200)
        self.assertEqual(len(self.door.runs.provider.requests[0].messages), len(MANY))
        last = f"messages[{len(MANY)}]"
        for message, param in (
            ({"role": "nobody"}, f"{last}.role"),
            ({"role": "tool", "content": "1"}, f"{last}.tool_call_id"),
            ({"role": "user", "content": [{"type": "text", "text": 1}]}, f"{last}.content[0].text"),
            ("hi", last),
        ):
            wrong = await self.chat(messages=[*MANY, message])
            self.assertEqual((wrong.status, wrong.error["param"]), (400, param))

    async def test_a_large_body_that_is_no_request(self) -> None:
        self.open()
        blank = " " * LARGE_BODY_BYTES
        for body, param in (
            (b'{"messages": []}', "messages"),
            (b'{"messages": "hi"}', "messages"),
            (b'{"messages": [{"role": "user", "content": "hi"}], "n": "x"}', "n"),
            (b'{"messages": [{"role": "user", "content": "\xff"}]}', None),
            (b'{"messages": [{"role": "user", "content": "hi"}', None),
        ):
            for text in (body, blank.encode() + body):
                with self.assertRaises(InvalidRequestError) as caught:
                    parse(text, limits_of(ChatCompletionsSettings()))
                self.assertEqual(caught.exception.param, param)


def refuse() -> None:
    raise InvalidRequestError("no")
