from __future__ import annotations

from typing import Any

from openclaw_twisted.errors import ModelNotReadyError
from tests.ws.rig import RigTestCase

AGENTS = {
    "defaults": {
        "model": {"primary": "up/big", "fallbacks": ["local/small"]},
        "models": {"up/big": {"alias": "b"}, "other/allowed": {}},
    },
    "entries": {"main": {}, "work": {"model": "up/extra"}},
}
MODELS = {
    "providers": {
        "up": {
            "baseUrl": "http://127.0.0.1:1/v1",
            "models": [
                {
                    "id": "big",
                    "name": "Big",
                    "contextWindow": 1000,
                    "reasoning": True,
                    "input": ["text", "image"],
                },
                {"id": "idle/with/slashes"},
            ],
        }
    }
}


class ModelsTests(RigTestCase):
    def setUp(self):
        self.door = self.rig(agents=AGENTS, models=MODELS)
        self.refused: set[str] = set()
        self.door.runs.provider.check = self.check  # type: ignore[method-assign]

    def check(self, model: str) -> None:
        if model in self.refused:
            raise ModelNotReadyError("It is being loaded.")

    def ask(self, protocol: int = 4, **params: Any) -> Any:
        client = self.door.client(protocol)
        client.request("1", "models.list", **params)
        response = client.frame()
        return response["payload"]["models"] if response["ok"] else response["error"]["message"]

    def test_every_model_that_can_be_asked_for(self):
        self.refused = {"local/small"}
        big, idle, small, allowed, extra = self.ask(includeDetails=True)
        self.assertEqual(
            big,
            {
                "id": "big",
                "name": "Big",
                "provider": "up",
                "contextWindow": 1000,
                "reasoning": True,
                "alias": "b",
                "available": True,
                "input": ["text", "image"],
            },
        )
        self.assertEqual(
            (idle["provider"], idle["id"], idle["name"]), ("up", "idle/with/slashes", "idle/with/slashes")
        )
        self.assertEqual(small, {"id": "small", "name": "small", "provider": "local", "available": False})
        self.assertEqual((allowed["provider"], extra["id"]), ("other", "extra"))

    def test_version_3_hears_less(self):
        big = self.ask(3)[0]
        self.assertEqual(set(big), {"id", "name", "provider", "contextWindow", "reasoning"})

    def test_an_agent_that_there_is_not(self):
        self.assertEqual(len(self.ask(agentId="work")), 5)
        self.assertIn("unknown agent id", self.ask(agentId="x"))

    def test_what_the_model_picker_of_the_control_page_asks(self):
        self.assertEqual(len(self.ask(sessionKey="agent:main:main", agentId="main", view="configured")), 5)
        self.assertEqual([model["id"] for model in self.ask(provider="local")], ["small"])
