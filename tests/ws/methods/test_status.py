from __future__ import annotations

from typing import Any

from openclaw_twisted import __version__
from openclaw_twisted.providers.scripted import Pause
from openclaw_twisted.testing import run_request
from tests.ws.rig import RigTestCase, connect_params


class StatusCase(RigTestCase):
    def setUp(self):
        self.door = self.rig(agents={"defaults": {"model": "scripted/m"}, "entries": {"ann": {}, "bob": {}}})

    def ask(self, method: str, protocol: int = 4, scopes: Any = ("operator.read",), **params: Any) -> Any:
        client = self.door.client(protocol, scopes=list(scopes))
        client.request("1", method, **params)
        response = client.frame()
        return response["payload"] if response["ok"] else response["error"]["message"]


class HealthTests(StatusCase):
    def test_how_the_gateway_is(self):
        health = self.ask("health", probe=True, includeSensitive=False)
        agents = health.pop("agents")
        none = {"path": "sessions.sqlite3", "count": 0, "recent": []}
        self.assertEqual((health.pop("sessions"), agents[0]["sessions"]), (none, none))
        self.assertEqual(
            health,
            {
                "ok": True,
                "ts": 1_700_000_000_500,
                "durationMs": 0,
                "channels": {},
                "channelOrder": [],
                "channelLabels": {},
                "heartbeatSeconds": 0,
                "defaultAgentId": "ann",
            },
        )
        self.assertEqual(
            [(agent["agentId"], agent["isDefault"]) for agent in agents], [("ann", True), ("bob", False)]
        )

    def test_a_gateway_that_cannot_answer_requests_is_not_well(self):
        client = self.door.client()
        self.door.is_well = False
        self.door.clock.advance(10)
        self.assertFalse(self.ask("health")["ok"])
        (told,) = [event for event in self.events_of(client) if event["event"] == "health"]
        self.assertNotIn("ok", told["payload"])
        newcomer = self.door.newcomer()
        newcomer.request("hello", "connect", **connect_params(4))
        self.assertNotIn("ok", newcomer.frame()["payload"]["snapshot"]["health"])
        self.door.is_well = True
        self.assertTrue(self.ask("health")["ok"])

    def test_anybody_may_ask_but_agents_are_for_those_who_may_read(self):
        health = self.ask("health", scopes=())
        self.assertTrue(health["ok"])
        self.assertEqual(set(health) & {"agents", "sessions"}, set())

    def test_params_that_are_none(self):
        self.assertIn("invalid health params: at root", self.ask("health", foo=1))

    def test_who_asks_has_it_told_to_everybody_but_not_all_the_time(self):
        client = self.door.client()
        self.door.clock.advance(10)
        for number in range(3):
            client.request(str(number), "health")
        (told,) = [event for event in self.events_of(client) if event["event"] == "health"]
        self.assertEqual(told["payload"], {"ok": True, "ts": 1_700_000_010_500})
        self.assertEqual(told["stateVersion"]["health"], 2)

    def events_of(self, client: Any) -> list[Any]:
        client.frames()
        events: list[Any] = client.events
        return events


class GatewayTests(StatusCase):
    def test_what_the_gateway_does(self):
        self.door.runs.provider.add([Pause()], [Pause()])
        for _ in range(2):
            self.door.runs.runner.start(run_request(key="agent:ann:a", agent_id="ann"))
        status = self.ask("status")
        self.assertEqual(status.pop("runs"), {"running": 1, "waiting": 1})
        recent = status["sessions"]["recent"][0]
        self.assertEqual((recent["key"], recent["agentId"]), ("agent:ann:a", "ann"))
        self.assertEqual(
            status,
            {
                "runtimeVersion": __version__,
                "heartbeat": {"defaultAgentId": "ann", "agents": []},
                "channelSummary": [],
                "queuedSystemEvents": [],
                "sessions": {
                    "paths": ["sessions.sqlite3"],
                    "count": 1,
                    "defaults": {"model": "scripted/m", "contextTokens": 200_000},
                    "recent": [recent],
                    "byAgent": [
                        {"agentId": "ann", "path": "sessions.sqlite3", "count": 1, "recent": [recent]},
                        {"agentId": "bob", "path": "sessions.sqlite3", "count": 0, "recent": []},
                    ],
                },
            },
        )
        self.assertNotIn("runs", self.ask("status", 3))

    def test_who_is_there(self):
        self.door.client(
            client={"id": "tui", "version": "2", "platform": "linux", "mode": "ui", "displayName": "Me"}
        )
        gateway, first, second = self.ask("system-presence")
        self.assertEqual((gateway["host"], gateway["mode"]), ("test-machine", "gateway"))
        self.assertEqual(
            (first["host"], first["version"], first["mode"], first["ip"]), ("Me", "2", "ui", "127.0.0.1")
        )
        self.assertEqual((second["host"], second["scopes"]), ("cli", ["operator.read"]))
