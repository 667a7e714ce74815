from __future__ import annotations

from openclaw_twisted.ws.protocol import CLOSE_TIMEOUT_SECONDS
from tests.ws.rig import BINARY, CLOSE, PING, TEXT, TOKEN, RigTestCase, connect_params, masked


class FrameTests(RigTestCase):
    def setUp(self):
        limits = {"maxLoginPayloadBytes": 1000, "maxPayloadBytes": 5000}
        self.door = self.rig(gateway={"limits": limits})

    def test_json_in_a_binary_frame_is_as_good(self):
        client = self.door.newcomer()
        client.send({"type": "req", "id": "1", "method": "connect", "params": connect_params()}, BINARY)
        self.assertTrue(client.frame()["ok"])

    def test_a_message_in_pieces(self):
        client = self.door.client()
        client.raw(masked(b'{"type":"req","id":"1",', TEXT, fin=False) + masked(b'"method":"health"}', 0))
        self.assertEqual(client.frame()["id"], "1")

    def test_the_size_of_messages_before_login(self):
        client = self.door.newcomer()
        client.send(b" " * 1001)
        self.assertEqual(client.frames(), [])
        assert client.outcome is not None
        self.assertEqual(client.outcome[0], 1009)
        client.hang_up()
        self.assertEqual(self.door.dropped, ["large_message"])

    def test_pieces_count_together(self):
        client = self.door.newcomer()
        client.raw(masked(b" " * 600, TEXT, fin=False) + masked(b" " * 600, 0))
        client.frames()
        assert client.outcome is not None
        self.assertEqual(client.outcome[0], 1009)

    def test_the_size_of_messages_after_login(self):
        client = self.door.client()
        client.request("1", "agent", message="x" * 4000, idempotencyKey="k", foo=1)
        self.assertIn("unexpected property 'foo'", client.frame()["error"]["message"])
        client.send(b" " * 5001)
        client.frames()
        assert client.outcome is not None
        self.assertEqual(client.outcome[0], 1009)

    def test_frames_that_break_the_rules(self):
        for data, code in [
            (b"\x81\x05hello", 1002),  # no mask
            (masked(b"x", 3), 1002),  # an opcode that is none
            (masked(b"x" * 126, PING), 1002),
            (masked(b"\xff\xfe", TEXT), 1007),
            (b"\xf1" + masked(b"x")[1:], 1002),  # reserved bits
        ]:
            client = self.door.newcomer()
            client.raw(data)
            client.frames()
            assert client.outcome is not None, data
            self.assertEqual(client.outcome[0], code, data)
            self.door.clock.advance(CLOSE_TIMEOUT_SECONDS)
            self.assertTrue(client.gone)

    def test_a_client_may_close(self):
        client = self.door.client()
        client.raw(masked(b"\x03\xe8", CLOSE))
        self.assertEqual(client.frames(), [])
        self.assertEqual(client.outcome, (1000, ""))
        self.assertTrue(client.gone)

    def test_a_client_may_vanish(self):
        client = self.door.client()
        client.hang_up()
        self.assertEqual(self.door.clock.getDelayedCalls(), [])


class LivenessTests(RigTestCase):
    def setUp(self):
        self.door = self.rig()

    def test_a_client_that_does_not_log_in_is_closed(self):
        client = self.door.newcomer()
        self.door.clock.advance(15)
        self.assertEqual(self.door.dropped, ["slow_login"])
        self.assertEqual(client.frames(), [])
        self.assertEqual(client.outcome, (1000, ""))
        self.door.clock.advance(CLOSE_TIMEOUT_SECONDS)
        self.assertTrue(client.gone)

    def test_a_client_that_answers_no_ping_is_dropped(self):
        client = self.door.client()
        self.door.clock.advance(25)
        client.frames()
        self.assertEqual(len(client.pings), 1)
        self.door.clock.advance(24)
        self.assertFalse(client.gone)
        self.door.clock.advance(1)
        self.assertTrue(client.wire.aborted)

    def test_a_client_that_does_is_pinged_again(self):
        client = self.door.client()
        for expected in range(1, 5):
            self.door.clock.advance(25)
            client.frames()
            self.assertEqual(len(client.pings), expected)
            client.send(client.pings[-1], 10)
        self.assertFalse(client.gone)

    def test_ticks_come_to_everybody_at_the_same_moment(self):
        old, new = self.door.client(3), self.door.client(4)
        newcomer = self.door.newcomer()
        for client in (old, new):
            client.frames()
        for _ in range(3):
            self.door.clock.advance(10)
        for client in (old, new):
            self.assertEqual(
                client.frame(),
                {"type": "event", "event": "tick", "payload": {"ts": 1_700_000_030_500}, "seq": 2},
            )
        self.assertEqual(newcomer.frames(), [])

    def test_ticks_stop_when_nobody_is_left_and_begin_again(self):
        self.door.client().hang_up()
        self.assertEqual(self.door.clock.getDelayedCalls(), [])
        client = self.door.client()
        self.door.clock.advance(30)
        self.assertEqual(client.frame()["event"], "tick")


class SlowConsumerTests(RigTestCase):
    def setUp(self):
        self.door = self.rig(gateway={"limits": {"maxBufferedBytes": 5000}})
        self.client = self.door.client()

    def ask(self, count: int) -> None:
        for number in range(count):
            self.client.request(str(number), "health")

    def test_what_is_not_read_waits_in_order(self):
        self.client.wire.producer.pauseProducing()
        self.client.wire.producer.pauseProducing()
        self.ask(5)
        self.assertEqual(self.client.frames(), [])
        self.client.wire.producer.resumeProducing()
        self.assertEqual([frame["id"] for frame in self.client.frames()], ["0", "1", "2", "3", "4"])
        self.ask(1)
        self.assertEqual(self.client.frame()["id"], "0")

    def test_sending_what_waited_stops_when_the_socket_is_full_again(self):
        self.client.wire.producer.pauseProducing()
        self.ask(5)
        self.client.wire.always_full = True
        self.client.wire.producer.resumeProducing()
        self.assertEqual(self.client.frame()["id"], "0")

    def test_too_much_closes_the_connection(self):
        self.client.wire.producer.pauseProducing()
        self.ask(20)
        self.assertEqual(self.client.frames(), [])
        self.assertEqual(self.client.outcome, (1008, "slow consumer"))
        self.door.clock.advance(CLOSE_TIMEOUT_SECONDS)
        self.assertTrue(self.client.wire.aborted)
        self.assertEqual(self.door.dropped, ["slow_consumer"])

    def test_what_was_read_does_not_count(self):
        for _ in range(20):
            self.client.wire.producer.pauseProducing()
            self.ask(2)
            self.client.wire.producer.resumeProducing()
        self.client.frames()
        self.assertIsNone(self.client.outcome)

    def test_pings_of_a_client_that_does_not_read_are_not_answered(self):
        self.client.wire.producer.pauseProducing()
        for _ in range(100):
            self.client.send(b"x" * 100, PING)
        self.assertEqual(self.client.wire.value(), b"")
        self.client.wire.producer.resumeProducing()
        self.client.send(b"y", PING)
        self.client.frames()
        self.assertEqual(self.client.pongs, [b"y"])


class NoSecretsInTheLogTests(RigTestCase):
    def test_neither_credentials_nor_messages_are_logged(self):
        from twisted.logger import capturedLogs

        with capturedLogs() as events:
            door = self.rig()
            client = door.client()
            client.request("1", "agent", message="a-private-message", idempotencyKey="k")
            client.request("2", "a-private-method")
            client.send(b"a-private-frame")
            for params in ({"auth": {"token": "a-wrong-secret"}}, {"a-private-key": 1}):
                stranger = door.newcomer()
                stranger.request("1", "connect", **connect_params(**params))
        told = " ".join(str(value) for event in events for value in event.values())
        self.assertIn("AUTH_TOKEN_MISMATCH", told)
        self.assertNotIn(TOKEN, told)
        self.assertNotIn("a-private", told)
        self.assertNotIn("a-wrong", told)
