"""How long an upstream may take, on real sockets: each limit ends what it is for, and not much later."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from openclaw_twisted.config.settings import ProviderSettings
from openclaw_twisted.providers.catalog import Catalog
from openclaw_twisted.providers.configured import Configured
from openclaw_twisted.providers.failover import Failover
from openclaw_twisted.testing import FakeUpstream, UpstreamCall, chunk, real_reactor
from tests.http.door import DoorCase

__all__ = ["TimeTests"]

LIMIT_SECONDS = 0.3
SLACK_SECONDS = 0.6
"""What a busy machine may add to the tenth that a limit may be late by."""
LONG_SECONDS = 60.0


class TimeTests(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.upstream = FakeUpstream()
        self.upstream.listen(real_reactor())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.upstream.stop()))

    def open_door(
        self, base_url: str | None = None, run_seconds: float = LONG_SECONDS, **limits: float
    ) -> None:
        """Open the door with these limits and long ones in place of the others."""
        names = ("connect_timeout_seconds", "first_byte_timeout_seconds", "idle_timeout_seconds")
        given: dict[str, Any] = dict.fromkeys(names, LONG_SECONDS) | limits
        settings = ProviderSettings(base_url=base_url or self.upstream.base_url, **given)
        configured = Configured(real_reactor(), {"mock": settings})
        self.addCleanup(lambda: Deferred.fromCoroutine(configured.close()))
        provider = Failover(Catalog(configured.providers), real_reactor())
        defaults = {"model": "mock/m", "timeoutSeconds": run_seconds}
        self.open(settings={"agents": {"defaults": defaults}}, provider=provider)

    async def assert_late(self, behaviour: Callable[[UpstreamCall], object] | None, seconds: float) -> None:
        """Say that the answer is a timeout after so many seconds, and that nothing is left open."""
        self.upstream.behaviour = behaviour
        began = real_reactor().seconds()
        answer = await self.chat()
        took = real_reactor().seconds() - began
        self.assertEqual((answer.status, answer.error["code"]), (504, "upstream_timeout"))
        self.assertGreaterEqual(took, seconds)
        self.assertLess(took, seconds * 1.1 + SLACK_SECONDS)
        await self.until(lambda: not self.upstream.open)

    async def test_a_connection_that_is_not_made(self) -> None:
        full = socket.socket()
        self.addCleanup(full.close)
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # nobody accepts, so from the second one on the kernel answers nothing
            waiting = socket.socket()
            self.addCleanup(waiting.close)
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        self.open_door(f"http://127.0.0.1:{port}/v1", connect_timeout_seconds=LIMIT_SECONDS)
        await self.assert_late(None, LIMIT_SECONDS)

    async def test_an_answer_that_does_not_begin(self) -> None:
        self.open_door(first_byte_timeout_seconds=LIMIT_SECONDS)
        await self.assert_late(lambda _call: None, LIMIT_SECONDS)

    async def test_an_answer_whose_head_alone_is_here(self) -> None:
        self.open_door(first_byte_timeout_seconds=LIMIT_SECONDS)
        await self.assert_late(UpstreamCall.stream, LIMIT_SECONDS)

    async def test_an_answer_that_falls_silent(self) -> None:
        self.open_door(idle_timeout_seconds=LIMIT_SECONDS)
        await self.assert_late(lambda call: call.stream(chunk({"content": "half"})), LIMIT_SECONDS)

    async def test_any_byte_begins_the_silence_anew(self) -> None:
        self.open_door(idle_timeout_seconds=LIMIT_SECONDS)
        pieces = [b":", b" keep", b"-alive\n", b"\n"]

        def trickle(call: UpstreamCall) -> None:
            def more() -> None:
                if pieces:
                    call.event(pieces.pop(0))
                else:
                    ticking.stop()

            call.stream()
            ticking = LoopingCall(more)
            ticking.clock = real_reactor()
            ticking.start(LIMIT_SECONDS * 0.6)

        await self.assert_late(trickle, 3 * LIMIT_SECONDS * 0.6 + LIMIT_SECONDS)

    async def test_a_run_that_takes_too_long_in_all(self) -> None:
        self.open_door(run_seconds=LIMIT_SECONDS)

        def go_on(call: UpstreamCall) -> None:
            call.stream()
            ticking = LoopingCall(call.event, chunk({"content": "more "}))
            ticking.clock = real_reactor()
            ticking.start(LIMIT_SECONDS / 10)
            call.closed.addCallback(lambda _: ticking.stop())

        await self.assert_late(go_on, LIMIT_SECONDS)
