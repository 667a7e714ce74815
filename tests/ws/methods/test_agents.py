from __future__ import annotations

from typing import Any

from tests.ws.rig import RigTestCase

AGENTS = {
    "defaults": {"model": {"primary": "scripted/m", "fallbacks": ["other/n"]}},
    "entries": {
        "main": {"identity": {"name": "Ann", "emoji": "A", "avatar": "https://example.org/a.png"}},
        "work": {"default": True, "identity": {"avatar": "avatars/w.png"}},
    },
}


class AgentsTests(RigTestCase):
    def setUp(self):
        self.door = self.rig(agents=AGENTS)

    def ask(self, method: str, protocol: int = 4, **params: Any) -> Any:
        client = self.door.client(protocol)
        client.request("1", method, **params)
        response = client.frame()
        return response["payload"] if response["ok"] else response["error"]["message"]

    def test_all_agents(self):
        model = {"primary": "scripted/m", "fallbacks": ["other/n"]}
        common = {"defaultId": "work", "mainKey": "main", "scope": "per-sender"}
        agents = [{"id": "main", "name": "Ann"}, {"id": "work", "name": "work"}]
        self.assertEqual(
            self.ask("agents.list"),
            common
            | {
                "agents": [agent | {"model": model} for agent in agents],
                "ownership": "sole",
                "selectionRequired": False,
            },
        )
        self.assertEqual(self.ask("agents.list", 3), common | {"agents": agents})

    def test_without_a_model(self):
        self.door = self.rig(agents={"defaults": {}})
        self.assertEqual(self.ask("agents.list")["agents"], [{"id": "main", "name": "main"}])

    def test_one_agent(self):
        ann = {"agentId": "main", "name": "Ann", "emoji": "A", "avatar": "https://example.org/a.png"}
        self.assertEqual(self.ask("agent.identity.get", agentId="main"), ann)
        self.assertEqual(self.ask("agent.identity.get", sessionKey="agent:main:x"), ann)
        self.assertEqual(self.ask("agent.identity.get"), {"agentId": "work", "name": "work"})
        self.assertIn('unknown agent id "x"', self.ask("agent.identity.get", agentId="x"))
