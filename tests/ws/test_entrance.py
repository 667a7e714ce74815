from __future__ import annotations

from dataclasses import replace

from openclaw_twisted.ws.entrance import WebSocketEntrance
from tests.ws.rig import RigTestCase, connect_params, loaded_of


class EntranceTests(RigTestCase):
    def setUp(self):
        self.door = self.rig()
        self.entrance = WebSocketEntrance(
            self.door.clock,
            behind=self.door.behind,
            rules=self.door.rules,
            tokens=self.door.tokens,
            host="test-machine",
        )
        self.door.site.resource = self.entrance.resource

    def test_all_clients_come_to_one_door(self):
        self.assertEqual(0, self.entrance.connections)
        client, _newcomer = self.door.client(), self.door.newcomer()
        self.assertEqual(2, self.entrance.connections)
        client.hang_up()
        self.assertEqual(1, self.entrance.connections)

    def test_the_time_before_the_first_client_counts(self):
        self.door.clock.advance(7)
        client = self.door.newcomer()
        client.request("1", "connect", **connect_params())
        self.assertEqual(7000, client.frame()["payload"]["snapshot"]["uptimeMs"])

    def test_the_newest_settings_hold_before_and_after_somebody_came(self):
        client = None
        for trigger in ("/first", "/second"):
            loaded = loaded_of(session={"resetTriggers": [trigger]})
            self.entrance.take(replace(self.door.behind, loaded=loaded), self.door.rules)
            client = client or self.door.client()
            client.request(trigger, "config.get")
            config = client.frame()["payload"]["config"]
            self.assertEqual(config["session"]["resetTriggers"], [trigger])

    def test_who_comes_after_the_stop_is_refused(self):
        self.successResultOf(self.entrance.close_all())
        self.assertIn("HTTP/1.1 503", self.door.visitor().upgrade())

    def test_who_is_there_is_told_of_the_stop_and_waited_for(self):
        client = self.door.client()
        done = self.entrance.close_all()
        self.assertEqual("shutdown", client.frame()["event"])
        self.assertNoResult(done)
        client.hang_up()
        self.successResultOf(done)
        self.assertIn("HTTP/1.1 503", self.door.visitor().upgrade())

    def test_another_secret_shuts_out_who_came_in_with_the_old_one(self):
        tokens = self.door.tokens
        tokens.issue("device", "operator", ["operator.read"], now_ms=0)
        self.entrance.secret_changed(b"another")
        self.assertEqual(0, len(tokens))
        client = self.door.client()
        self.entrance.secret_changed(b"a third")
        client.frames()
        self.assertEqual((4001, "auth changed"), client.outcome)
