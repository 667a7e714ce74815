from __future__ import annotations

from tests.ws.rig import RigTestCase


class CommandsTests(RigTestCase):
    def test_the_messages_that_are_commands(self):
        client = self.rig().client()
        client.request("1", "commands.list", sessionKey="main", includeArgs=True)
        stop, new, reset = client.frame()["payload"]["commands"]
        self.assertEqual((stop["name"], stop["textAliases"], stop["acceptsArgs"]), ("stop", ["/stop"], False))
        self.assertEqual((new["name"], reset["textAliases"], reset["acceptsArgs"]), ("new", ["/reset"], True))
        client.request("2", "commands.list", scope="native")
        self.assertEqual(client.frame()["payload"], {"commands": []})
