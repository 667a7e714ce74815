from __future__ import annotations

import json
from typing import Any

from tests.ws.rig import PING, RigTestCase, connect_params, masked


class UpgradeTests(RigTestCase):
    def status(self, target: str = "/", *, peer: str = "127.0.0.1", **headers: Any) -> str:
        head = self.door.visitor(peer).upgrade(target, **headers)
        return head.split(" ", 2)[1]

    def setUp(self):
        origins = {"allowedOrigins": ["https://app.example.org", "tauri://localhost"]}
        self.door = self.rig(gateway={"controlUi": origins, "trustedProxies": ["10.0.0.1"]})

    def test_every_path_is_as_good(self):
        for target in ("/", "/ws?token=x", "/v1/chat/completions", "/a/b//c", "http://other.test/"):
            self.assertEqual(self.status(target), "101", target)

    def test_extensions_and_subprotocols_are_declined(self):
        head = self.door.visitor().upgrade(
            sec_websocket_extensions="permessage-deflate; client_max_window_bits",
            sec_websocket_protocol="a, b",
        )
        self.assertIn("HTTP/1.1 101", head)
        self.assertNotIn("Extensions", head)
        self.assertNotIn("Protocol:", head)

    def test_what_autobahn_does_not_take_is_answered_and_closed(self):
        bad: list[dict[str, Any]] = [
            {"sec_websocket_key": None},
            {"sec_websocket_key": "short"},
            {"sec_websocket_version": "12"},
            {"sec_websocket_version": "x"},
            {"sec_websocket_version": None},
            {"connection": "close"},
            {"connection": None},
        ]
        for headers in bad:
            visitor = self.door.visitor()
            self.assertIn("HTTP/1.1 400", visitor.upgrade(**headers), headers)
            self.assertTrue(visitor.gone)
        self.assertIn("HTTP/1.1 101", self.door.visitor().upgrade())

    def test_only_a_get_of_http_1_1(self):
        visitor = self.door.visitor()
        self.assertIn("begins with a GET request", visitor.upgrade(method="POST", content_length="0"))
        old = b"GET / HTTP/1.0\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        visitor = self.door.visitor()
        visitor.raw(old)
        self.assertIn(b"400", visitor.wire.value())

    def test_foreign_hosts(self):
        self.assertEqual(self.status(host="evil.example.com"), "421")
        self.assertEqual(self.status(host="a b"), "400")
        self.assertEqual(self.status(host=None), "400")
        self.assertEqual(self.status(host="localhost"), "101")

    def test_foreign_origins(self):
        for origin, status in [
            ("https://evil.example.com", "403"),
            ("null", "403"),
            ("not an origin", "403"),
            ("http://127.0.0.1:18789", "101"),
            ("https://app.example.org", "101"),
            ("tauri://localhost", "101"),
        ]:
            self.assertEqual(self.status(origin=origin), status, origin)

    def test_a_refusal_is_plain_text(self):
        head = self.door.visitor().upgrade(origin="https://evil.example.com")
        self.assertIn("content-type: text/plain", head.lower())
        self.assertIn("x-content-type-options: nosniff", head.lower())
        self.assertIn('Web pages of the origin "https://evil.example.com" may not send requests here.', head)

    def test_a_refused_connection_can_be_used_again(self):
        visitor = self.door.visitor()
        self.assertIn("403", visitor.upgrade(origin="null"))
        self.assertIn("101", visitor.upgrade())

    def test_nobody_is_accepted_once_the_gateway_stops(self):
        self.door.door.stop_accepting()
        head = self.door.visitor().upgrade()
        self.assertIn("HTTP/1.1 503", head)
        self.assertIn("retry-after: 5", head.lower())

    def test_frames_that_come_with_the_request_are_not_lost(self):
        request = {"type": "req", "id": "1", "method": "connect", "params": connect_params()}
        visitor = self.door.visitor()
        visitor.upgrade(then=masked(b"x", PING) + masked(json.dumps(request).encode()))
        self.assertEqual([frame["type"] for frame in visitor.frames()], ["event", "res"])
        self.assertEqual(visitor.pongs, [b"x"])

    def test_a_connection_that_was_held_up_is_read_again(self):
        # HTTP stops reading while a client that has asked for more than it reads has answers to fetch.
        visitor = self.door.visitor()
        visitor.wire.pauseProducing()
        visitor.upgrade()
        self.assertEqual(visitor.wire.producerState, "producing")

    def test_frames_that_come_behind_a_body_are_not_lost(self):
        visitor = self.door.visitor()
        visitor.upgrade(content_length="4", then=b"body" + masked(b"x", PING))
        visitor.frames()
        self.assertEqual(visitor.pongs, [b"x"])


class UnauthenticatedTests(RigTestCase):
    def setUp(self):
        limits = {"maxUnauthenticatedWebsockets": 3, "maxUnauthenticatedWebsocketsPerAddress": 2}
        self.door = self.rig(gateway={"limits": limits, "trustedProxies": ["10.0.0.1"]})

    def test_so_many_from_one_address(self):
        for _ in range(2):
            self.door.newcomer("192.0.2.1")
        head = self.door.visitor("192.0.2.1").upgrade()
        self.assertIn("HTTP/1.1 503", head)
        self.assertIn("from this address", head)
        self.door.newcomer("192.0.2.2")

    def test_so_many_in_all(self):
        for number in range(3):
            self.door.newcomer(f"192.0.2.{number}")
        self.assertIn("HTTP/1.1 503", self.door.visitor("192.0.2.9").upgrade())

    def test_clients_behind_a_proxy_are_told_apart(self):
        for number in range(3):
            self.door.newcomer("10.0.0.1", x_forwarded_for=f"192.0.2.{number}")

    def test_who_logs_in_or_leaves_makes_room(self):
        first, second = self.door.newcomer(), self.door.newcomer()
        self.assertIn("503", self.door.visitor().upgrade())
        first.request("1", "connect", **connect_params())
        third = self.door.newcomer()
        second.hang_up()
        self.door.newcomer()
        self.assertIn("503", self.door.visitor().upgrade())
        third.hang_up()
        first.hang_up()
        self.door.newcomer()

    def test_who_is_refused_stays_counted_until_the_connection_is_gone(self):
        first, _second = self.door.newcomer(), self.door.newcomer()
        first.send(b"[]")
        self.assertIn("503", self.door.visitor().upgrade())
        self.door.clock.advance(2)
        self.assertTrue(first.gone)
        self.door.newcomer()

    def test_failed_openings_are_not_counted(self):
        for _ in range(5):
            self.door.visitor().upgrade(sec_websocket_key=None)
        self.door.newcomer()
