from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import TrustedProxies, client_address
from openclaw_twisted.auth.device_tokens import DeviceTokens
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.config.settings import AuthSettings, Secret
from openclaw_twisted.ws.connect import Client, Desk, Visitor
from openclaw_twisted.ws.event_payloads import HealthBrief
from openclaw_twisted.ws.frames import StateVersion
from openclaw_twisted.ws.handshake import Receiver, Reception, new_handshake
from openclaw_twisted.ws.hello import Greeting, HelloOk
from openclaw_twisted.ws.pulse import State
from tests.ws.rig import NOW, TOKEN, connect_params, directory_of, settings_of


class Wire:
    """What the handshake does to its connection."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: tuple[int, str] | None = None

    def send(self, frame: bytes) -> None:
        self.sent.append(json.loads(frame))

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Frames:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.closed = False

    def receive(self, data: bytes) -> None:
        self.received.append(data)

    def close(self) -> None:
        self.closed = True


class HandshakeTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.wire = Wire()
        self.frames = Frames()
        self.clients: list[Client] = []
        self.settings = settings_of()
        auth = AuthSettings(token=Secret(TOKEN))
        gate = Gate(auth, FailureLimiter(auth.rate_limit, self.clock.seconds))
        desk = Desk(gate=gate, tokens=DeviceTokens(None, gate.secret_digest), now=lambda: NOW)
        headers = Headers()
        self.handshake = new_handshake(
            wire=self.wire,
            visitor=Visitor(address=client_address("127.0.0.1", headers, TrustedProxies()), headers=headers),
            reception=lambda: Reception(desk=desk, clock=self.clock, login_seconds=15),
            welcome=self.welcome,
        )

    def welcome(self, client: Client) -> tuple[HelloOk, Receiver]:
        self.clients.append(client)
        greeting = Greeting(
            version="1",
            auth_mode="token",
            directory=directory_of(self.settings),
            limits=self.settings.gateway.limits,
            uptime_seconds=lambda: 0,
        )
        state = State(presence=(), health=HealthBrief(ok=True, ts=1), version=StateVersion(1, 1))
        return greeting.to(client, (), state), self.frames

    def connect(self, **params: Any) -> None:
        request = {"type": "req", "id": "1", "method": "connect", "params": connect_params(**params)}
        self.handshake.receive(json.dumps(request).encode())

    def nothing_is_left(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_challenge_comes_first(self):
        self.handshake.open()
        (challenge,) = self.wire.sent
        nonce = challenge["payload"].pop("nonce")
        self.assertEqual(len(nonce), 36)
        self.assertEqual(
            challenge, {"type": "event", "event": "connect.challenge", "payload": {"ts": 1_700_000_000_500}}
        )

    def test_a_good_connect_lets_in_and_every_later_frame_is_passed_on(self):
        self.handshake.open()
        self.connect()
        hello = self.wire.sent[-1]
        self.assertEqual((hello["id"], hello["payload"]["type"]), ("1", "hello-ok"))
        self.nothing_is_left()
        self.handshake.receive(b"a")
        self.connect()
        self.assertEqual((self.frames.received[0], len(self.frames.received)), (b"a", 2))
        self.handshake.lose()
        self.assertTrue(self.frames.closed)
        self.assertEqual(len(self.clients), 1)

    def test_a_bad_one_is_answered_and_closed_and_nothing_is_heard_after_it(self):
        self.handshake.open()
        self.connect(auth={"token": "wrong"})
        self.assertEqual(self.wire.sent[-1]["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH")
        assert self.wire.closed is not None
        self.assertEqual(self.wire.closed[0], 1008)
        self.nothing_is_left()
        self.connect()
        self.assertEqual((len(self.wire.sent), self.clients), (2, []))
        self.handshake.lose()

    def test_who_says_nothing_is_closed_when_the_time_is_over(self):
        self.handshake.open()
        self.clock.advance(14.9)
        self.assertIsNone(self.wire.closed)
        self.clock.advance(0.1)
        self.assertEqual(self.wire.closed, (1000, ""))
        self.connect()
        self.assertEqual((len(self.wire.sent), self.clients), (1, []))
        self.handshake.lose()

    def test_a_connection_that_never_opened_may_be_lost(self):
        self.handshake.lose()
        self.nothing_is_left()

    def test_a_connection_may_be_lost_before_the_login(self):
        self.handshake.open()
        self.handshake.lose()
        self.nothing_is_left()
