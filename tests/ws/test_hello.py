from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.ws.event_payloads import EVENTS, HealthBrief
from openclaw_twisted.ws.frames import StateVersion, success
from openclaw_twisted.ws.hello import Greeting
from openclaw_twisted.ws.presence import Presence
from openclaw_twisted.ws.pulse import State
from tests.ws.rig import NOW, client_of, directory_of, settings_of


class GreetingTests(SynchronousTestCase):
    def hello(self, protocol: int, **sections: Any) -> Any:
        settings = settings_of(**sections)
        greeting = Greeting(
            version="1.2",
            auth_mode="token",
            directory=directory_of(settings),
            limits=settings.gateway.limits,
            uptime_seconds=lambda: 3.25,
        )
        client = client_of(protocol, "operator.write", "operator.read")
        presence = Presence(host="h", version="1.2", now=lambda: NOW)
        state = State(
            presence=presence.entries(), health=HealthBrief(ok=True, ts=1), version=StateVersion(3, 2)
        )
        return json.loads(success("1", greeting.to(client, ("agent", "health"), state)))["payload"]

    def test_everything_the_schema_of_version_4_has(self):
        self.assertEqual(
            self.hello(4),
            {
                "type": "hello-ok",
                "protocol": 4,
                "server": {"version": "1.2", "connId": "c1"},
                "features": {
                    "methods": ["agent", "health"],
                    "events": [event.name for event in EVENTS],
                    "capabilities": ["published-model-catalog"],
                },
                "snapshot": {
                    "presence": [
                        {
                            "host": "h",
                            "version": "1.2",
                            "mode": "gateway",
                            "reason": "self",
                            "text": "Gateway: h",
                            "ts": 1_700_000_000_500,
                        }
                    ],
                    "health": {"ok": True, "ts": 1},
                    "stateVersion": {"presence": 3, "health": 2},
                    "uptimeMs": 3250,
                    "authMode": "token",
                    "sessionDefaults": {
                        "defaultAgentId": "main",
                        "mainKey": "main",
                        "mainSessionKey": "agent:main:main",
                        "scope": "per-sender",
                        "modelConfigured": True,
                        "ownership": "sole",
                        "selectionRequired": False,
                    },
                },
                "auth": {"role": "operator", "scopes": ["operator.read", "operator.write"]},
                "policy": {
                    "maxPayload": 26_214_400,
                    "maxBufferedBytes": 52_428_800,
                    "tickIntervalMs": 30_000,
                },
            },
        )

    def test_version_3_hears_nothing_that_it_does_not_know(self):
        hello = self.hello(3)
        self.assertEqual(hello["protocol"], 3)
        self.assertEqual(set(hello["features"]), {"methods", "events"})
        self.assertEqual(
            set(hello["snapshot"]["sessionDefaults"]),
            {"defaultAgentId", "mainKey", "mainSessionKey", "scope"},
        )

    def test_it_tells_the_settings(self):
        limits = {"tickSeconds": 1.5, "maxPayloadBytes": 1000, "maxBufferedBytes": 2000}
        entries = {"zoe": {"default": True}, "main": {}}
        hello = self.hello(4, gateway={"limits": limits}, agents={"entries": entries})
        self.assertEqual(
            hello["policy"], {"maxPayload": 1000, "maxBufferedBytes": 2000, "tickIntervalMs": 1500}
        )
        defaults = hello["snapshot"]["sessionDefaults"]
        self.assertEqual(
            (defaults["defaultAgentId"], defaults["mainSessionKey"], defaults["modelConfigured"]),
            ("zoe", "agent:zoe:main", False),
        )
