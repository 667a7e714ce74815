from __future__ import annotations

from tests.ws.rig import ALL_SCOPES, RigTestCase


class NothingTests(RigTestCase):
    def test_what_there_is_none_of(self):
        client = self.rig().client(scopes=[*ALL_SCOPES])
        for method, payload in [
            ("question.list", {"questions": []}),
            ("plugin.approval.list", []),
            ("exec.approval.list", []),
            ("taskSuggestions.list", {"suggestions": []}),
            ("last-heartbeat", None),
        ]:
            client.request("1", method)
            self.assertEqual(client.frame(), {"type": "res", "id": "1", "ok": True, "payload": payload})
            client.request("1", method, foo=1)
            self.assertIn("unexpected property 'foo'", client.frame()["error"]["message"])
