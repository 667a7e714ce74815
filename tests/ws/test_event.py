from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.ws import frames
from openclaw_twisted.ws.event import Event
from openclaw_twisted.ws.frames import StateVersion


class EventTests(SynchronousTestCase):
    def setUp(self):
        self.shaped: list[bool] = []

    def shape(self, speaks_4: bool) -> Any:
        self.shaped.append(speaks_4)
        return {"new": speaks_4}

    def test_it_is_encoded_once_for_each_version_and_only_when_asked_for(self):
        event = Event("agent", self.shape)
        self.assertEqual(self.shaped, [])
        first = event.opening(speaks_4=True)
        self.assertIs(event.opening(speaks_4=True), first)
        self.assertIs(event.opening(speaks_4=False), event.opening(speaks_4=False))
        self.assertEqual(self.shaped, [True, False])

    def test_the_number_is_added_without_another_encoding(self):
        opening = Event("chat", self.shape).opening(speaks_4=True)
        told = {"type": "event", "event": "chat", "payload": {"new": True}}
        self.assertEqual(json.loads(frames.close(opening)), told)
        self.assertEqual(json.loads(frames.close(opening, 12)), told | {"seq": 12})
        self.assertEqual(len(self.shaped), 1)

    def test_a_state_version(self):
        event = Event("presence", self.shape, state_version=StateVersion(3, 1))
        frame = json.loads(frames.close(event.opening(speaks_4=False), 1))
        self.assertEqual(frame["stateVersion"], {"presence": 3, "health": 1})

    def test_what_goes_to_some_only_has_no_number(self):
        self.assertTrue(Event("agent", self.shape).numbered)
        self.assertFalse(Event("agent", self.shape, cap="tool-events").numbered)
        self.assertFalse(Event("agent", self.shape, numbered=False).numbered)
