from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import TrustedProxies, client_address
from openclaw_twisted.ws.frames import Fault
from openclaw_twisted.ws.refusal import Refusal
from openclaw_twisted.ws.refusal_log import EVERY_SECONDS, MAX_REMEMBERED, RefusalLog


class RefusalLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.log = RefusalLog(self.clock)

    def tell(self, kind: str = "AUTH_TOKEN_MISMATCH", peer: str = "192.0.2.1", *, times: int = 1) -> None:
        fault = Fault(code=kind, message="")
        refusal = Refusal(close_code=1008, close_reason="", fault=fault)
        for _ in range(times):
            self.log.tell(client_address(peer, Headers(), TrustedProxies()), refusal)

    def said(self, what: Callable[[], object]) -> list[str]:
        with capturedLogs() as events:
            what()
        return [formatEvent(event) for event in events]

    def test_who_comes_again_and_again_is_counted(self) -> None:
        first = ["refused a WebSocket client from 192.0.2.1: AUTH_TOKEN_MISMATCH"]
        self.assertEqual(self.said(self.tell), first)
        self.assertEqual(self.said(lambda: self.tell(times=7)), [])
        self.clock.advance(EVERY_SECONDS)
        self.assertEqual(self.said(self.tell), [f"{first[0]}, and 7 more since that was last said"])
        self.clock.advance(EVERY_SECONDS)
        self.assertEqual(self.said(self.tell), first)

    def test_others_and_other_reasons_are_told(self) -> None:
        self.tell()
        self.assertEqual(len(self.said(lambda: self.tell("PROTOCOL_MISMATCH"))), 1)
        self.assertEqual(len(self.said(lambda: self.tell(peer="192.0.2.2"))), 1)
        self.assertEqual(self.said(self.tell), [])

    def test_who_came_long_ago_is_forgotten(self) -> None:
        self.tell()
        for number in range(MAX_REMEMBERED):
            self.tell(peer=f"198.18.{number // 256}.{number % 256}")
        self.assertEqual(len(self.said(self.tell)), 1)
