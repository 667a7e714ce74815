from __future__ import annotations

from tests.ws.rig import NOW, RigTestCase


class HealthTests(RigTestCase):
    def test_whoever_has_logged_in_may_ask(self):
        client = self.rig().client(scopes=[])
        for params in ({}, {"probe": True}, {"includeSensitive": True}):
            client.request("1", "health", **params)
            self.assertEqual(
                client.frame(),
                {"type": "res", "id": "1", "ok": True, "payload": {"ok": True, "ts": int(NOW * 1000)}},
            )

    def test_params_may_be_left_out(self):
        client = self.rig().client()
        client.send({"type": "req", "id": "1", "method": "health"})
        self.assertTrue(client.frame()["ok"])
