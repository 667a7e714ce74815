"""Tens of thousands of frames, before and after the login: a typed answer or a documented close.

`OPENCLAW_FUZZ_ROUNDS` is how many rounds are played; one is some 450 frames. Without it the suite plays a
few, always the same; a change of what is read owes `OPENCLAW_FUZZ_ROUNDS=2000`.
"""

from __future__ import annotations

import gc
import json
import os
import weakref
from typing import Any

from hypothesis import Phase, given, settings
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import TrustedProxies, client_address
from openclaw_twisted.providers.scripted import reply
from openclaw_twisted.ws import connect
from openclaw_twisted.ws.connect import Client, Desk, Visitor
from openclaw_twisted.ws.connect_params import ConnectParams
from openclaw_twisted.ws.dispatch import Dispatcher, Exchange
from openclaw_twisted.ws.handshake import Reception, new_handshake
from tests.ws.fuzz import INGREDIENTS, Ingredients, frames_of, shapes_of
from tests.ws.rig import ALL_SCOPES, NOW, Rig, RigTestCase, client_of
from tests.ws.test_loopback import LoopbackCase

ROUNDS = int(os.environ.get("OPENCLAW_FUZZ_ROUNDS", "0"))  # noqa: TID251 - for whoever wants more
FEW = 50
SETTINGS = settings(
    max_examples=ROUNDS or FEW,
    deadline=None,
    derandomize=not ROUNDS,
    database=None,
    phases=[Phase.generate],  # a frame that fails is short enough as it is, and told
)

CODES = {"INVALID_REQUEST", "UNAVAILABLE", "FORBIDDEN", "NOT_PAIRED"}
CLOSES = {1000, 1002, 1008}
LONGEST_MESSAGE = 1000


class _Wire:
    """A connection of which only the answers matter."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.outcome: tuple[int, str] | None = None

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def close(self, code: int, reason: str) -> None:
        self.outcome = (code, reason)


class FuzzCase(RigTestCase):
    def assert_answer(self, data: bytes, asked: bytes = b"") -> None:
        frame = json.loads(data)
        self.assertLessEqual(set(frame), {"type", "id", "ok", "payload", "error"})
        self.assertEqual("res", frame["type"])
        if not frame["ok"]:
            error = frame["error"]
            self.assertIn(error["code"], CODES)
            self.assertLess(len(error["message"]), LONGEST_MESSAGE)
            self.assertNotIn("defect", error["message"], asked)


class BeforeLoginTests(FuzzCase):
    def test_frames(self):
        rig = self.rig()
        address = client_address("127.0.0.1", Headers(), TrustedProxies())
        reception = Reception(
            desk=Desk(gate=rig.rules.gate, tokens=rig.tokens, now=lambda: NOW),
            clock=rig.clock,
            login_seconds=15,
        )
        shapes: dict[str, Any] = {**shapes_of(rig.door.described), connect.METHOD: ConnectParams}
        count = 0

        def welcome(_client: Client) -> Any:
            raise AssertionError("nobody here knows the secret")

        @SETTINGS
        @given(INGREDIENTS)
        def play(ingredients: Ingredients) -> None:
            nonlocal count
            for data in frames_of(ingredients, shapes):
                count += 1
                wire = _Wire()
                handshake = new_handshake(
                    wire=wire,
                    visitor=Visitor(address=address, headers=Headers()),
                    reception=lambda: reception,
                    welcome=welcome,
                )
                handshake.open()
                handshake.receive(data)
                self.assertIn((wire.outcome or (0,))[0], CLOSES, data)
                for answer in wire.sent[1:]:
                    self.assert_answer(answer)
                handshake.lose()

        play()
        self.assertGreaterEqual(count, 400 * FEW)
        self.assertEqual([], rig.clock.getDelayedCalls())


class AfterLoginTests(FuzzCase):
    def test_frames(self):
        exchanges: list[weakref.ref[Exchange]] = []
        count = 0

        @SETTINGS
        @given(INGREDIENTS)
        def play(ingredients: Ingredients) -> None:
            nonlocal count
            rig = Rig(reply("yes"), reply("yes"))
            methods, sent = rig.door.described, list[bytes]()
            client = client_of(3 + len(exchanges) % 2, *ALL_SCOPES)
            exchange = Exchange(Dispatcher(methods), client, sent.append)
            exchanges.append(weakref.ref(exchange))
            for data in frames_of(ingredients, shapes_of(methods)):
                count += 1
                exchange.receive(data)
                for answer in sent:
                    self.assert_answer(answer, data)
                sent.clear()
            exchange.receive(json.dumps({"type": "req", "id": "last", "method": "health"}).encode())
            self.assertIn(b'"id":"last","ok":true', sent[-1])
            exchange.close()
            rig.stop()
            self.assertEqual((), rig.runs.runner.active())

        play()
        self.assertGreaterEqual(count, 400 * FEW)
        gc.collect()
        self.assertEqual([], [held for held in (exchange() for exchange in exchanges) if held is not None])


class SocketTests(LoopbackCase, FuzzCase):
    async def test_frames(self):
        rig = self.open(*(reply("yes") for _ in range(100)))
        shapes = shapes_of(rig.door.described)
        for protocol in (3, 4):
            client = await self.log_in(minProtocol=protocol, maxProtocol=protocol)
            sent = 0
            for number, value in enumerate(ODD_VALUES):
                given = Ingredients([value, None], name="odd", data=b'{"id":7}')
                for frame in frames_of(given, shapes):
                    sent += 1
                    client.sendMessage(frame, isBinary=True)
                client.say(f"last {number}", "health")
                heard: Any = {}
                while heard.get("id") != f"last {number}":
                    heard = await client.heard.get()
                    self.assert_answer(json.dumps(heard).encode())
            self.assertGreaterEqual(sent, 1000)
            client.sendClose(1000)
            await client.closed


ODD_VALUES = ("", -1, {"a": [1e400]}, "agent::", "\ud800", True)
