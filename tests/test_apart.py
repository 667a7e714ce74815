"""What is large is worked on in a thread, what is small at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from openclaw_twisted.apart import LARGE_CHARACTERS, LARGE_MESSAGES, Apart
from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.content import ImagePart, Message, TextPart, ToolCall
from openclaw_twisted.errors import UpstreamError
from openclaw_twisted.providers.answer import Answer
from openclaw_twisted.providers.anthropic_messages import AnthropicMessages
from openclaw_twisted.providers.openai_completions import OpenAICompletions
from openclaw_twisted.providers.scripted import reply
from openclaw_twisted.providers.upstream import Address
from openclaw_twisted.testing import real_reactor
from openclaw_twisted.testing.runs import MemoryRuns, run_request, user

__all__ = ["InThreads", "LongConversations", "LongRequests"]

T = TypeVar("T")

FEW = (user("hi"),)
MANY = tuple(user("hi") for _ in range(LARGE_MESSAGES + 1))


class Counted(Apart):
    """Counts what is done apart, and does it at once."""

    def __init__(self) -> None:
        super().__init__(reactor=object())
        self.count = 0

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        self.count += 1
        return succeed(work())


class Deaf:
    """An upstream that keeps what it is sent, and refuses it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def post(self, _address: Address, body: bytes) -> Answer:
        self.bodies.append(body)
        raise UpstreamError("no")


class InThreads(TestCase):
    def test_what_is_large(self) -> None:
        apart = Apart(real_reactor())
        half = "x" * (LARGE_CHARACTERS // 2)
        image = ImagePart("image/png", half)
        call = ToolCall("c", "f", half)
        for messages, large in (
            (FEW, False),
            (MANY[1:], False),
            (MANY, True),
            ((user(half + half),), False),
            ((user(half + half + "x"),), True),
            ((user(half), Message(role="user", content=(TextPart("x"), image))), True),
            ((user(half), Message(role="assistant", content="x", tool_calls=(call,))), True),
        ):
            self.assertIs(apart.is_large(messages), large)
        self.assertFalse(Apart().is_large(MANY))

    async def test_work_is_done_in_another_thread(self) -> None:
        apart = Apart(real_reactor())
        self.assertNotEqual(await apart.do(threading.get_ident), threading.get_ident())
        with self.assertRaises(ZeroDivisionError):
            await apart.do(lambda: 1 // 0)


class LongConversations(SynchronousTestCase):
    def test_only_long_ones_are_put_together_apart(self) -> None:
        apart = Counted()
        runs = MemoryRuns(reply("a"), reply("b"), apart=apart)
        for messages, count in ((FEW, 0), (MANY, 1)):
            runs.runner.start(run_request(*messages))
            self.assertEqual(apart.count, count)
        self.assertEqual([len(asked.messages) for asked in runs.provider.requests], [1, len(MANY)])


class LongRequests(SynchronousTestCase):
    def test_only_long_ones_are_written_apart(self) -> None:
        for api in (OpenAICompletions, AnthropicMessages):
            apart, upstream = Counted(), Deaf()
            provider = api(upstream, name="p", base_url="http://p", headers={}, apart=apart)
            for messages, count in ((FEW, 0), (MANY, 1)):
                answer = provider.respond(ModelRequest(model="m", messages=messages))
                self.failureResultOf(Deferred.fromCoroutine(anext(answer)), UpstreamError)
                self.assertEqual(apart.count, count)
                self.assertEqual(upstream.bodies[-1].count(b'"hi"'), len(messages))
