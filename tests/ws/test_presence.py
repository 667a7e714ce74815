from __future__ import annotations

import dataclasses
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.ws.presence import MAX_LISTED, Presence
from openclaw_twisted.ws.pulse import HEALTH_SECONDS, PRESENCE_SECONDS
from tests.ws.rig import NOW, MemoryClient, RigTestCase, client_of, connect_params


def numbered(number: int) -> Any:
    return dataclasses.replace(client_of(), connection_id=str(number))


class ListTests(SynchronousTestCase):
    def setUp(self):
        self.presence = Presence(host="h", version="1", now=lambda: NOW)

    def test_who_comes_and_goes(self):
        client = client_of()
        self.assertTrue(self.presence.join(client))
        self.assertEqual([entry.host for entry in self.presence.entries()], ["h", "cli"])
        self.assertTrue(self.presence.leave(client))
        self.assertEqual(len(self.presence.entries()), 1)
        self.assertEqual(self.presence.version, 3)

    def test_only_so_many_are_listed(self):
        for number in range(MAX_LISTED):
            self.assertTrue(self.presence.join(numbered(number)))
        self.assertFalse(self.presence.join(numbered(MAX_LISTED)))
        self.assertEqual(len(self.presence.entries()), MAX_LISTED + 1)
        self.assertFalse(self.presence.leave(numbered(MAX_LISTED)))
        self.assertTrue(self.presence.leave(numbered(0)))
        self.assertEqual(self.presence.version, MAX_LISTED + 2)


class PulseTests(RigTestCase):
    def setUp(self):
        self.door = self.rig(gateway={"limits": {"websocketPingSeconds": 1000}})

    def told(self, client: MemoryClient, name: str) -> list[Any]:
        client.frames()
        return [event for event in client.events if event["event"] == name]

    def test_everybody_hears_who_is_there_and_changes_are_gathered(self):
        first = self.door.client(3)
        second, third = self.door.client(), self.door.client()
        self.door.clock.advance(PRESENCE_SECONDS)
        for client in (first, second, third):
            (event,) = self.told(client, "presence")
            self.assertEqual(len(event["payload"]["presence"]), 4)
            self.assertEqual(event["stateVersion"], {"presence": 4, "health": 1})
        third.hang_up()
        self.door.clock.advance(PRESENCE_SECONDS)
        self.assertEqual(len(self.told(first, "presence")[1]["payload"]["presence"]), 3)

    def test_everybody_hears_how_the_gateway_is(self):
        client = self.door.client()
        self.door.clock.advance(HEALTH_SECONDS / 2)
        self.assertEqual(self.told(client, "health"), [])
        for _ in range(2):
            self.door.clock.advance(HEALTH_SECONDS / 2)
        (event,) = self.told(client, "health")
        self.assertEqual(event["payload"], {"ok": True, "ts": int((NOW + HEALTH_SECONDS) * 1000)})
        self.assertEqual(event["stateVersion"]["health"], 2)

    def test_a_newcomer_is_told_what_the_others_know(self):
        self.door.client()
        newcomer = self.door.newcomer()
        newcomer.request("1", "connect", **connect_params())
        snapshot = newcomer.frame()["payload"]["snapshot"]
        self.assertEqual([entry["mode"] for entry in snapshot["presence"]], ["gateway", "cli", "cli"])
        self.assertEqual(snapshot["stateVersion"], {"presence": 3, "health": 1})

    def test_nothing_goes_on_when_everybody_has_left(self):
        first, second = self.door.client(), self.door.client()
        first.hang_up()
        second.hang_up()
        self.assertEqual(self.door.clock.getDelayedCalls(), [])
        again = self.door.client()
        self.door.clock.advance(PRESENCE_SECONDS)
        self.assertEqual(len(self.told(again, "presence")), 1)
