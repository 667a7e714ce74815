from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.ws.session_target import find_session
from tests.ws.rig import directory_of, settings_of

AGENTS = {"defaults": {"model": "scripted/m"}, "entries": {"main": {}, "work": {}}}


class FindSessionTests(SynchronousTestCase):
    directory = directory_of(settings_of(agents=AGENTS))

    def key(self, **given: Any) -> str:
        agent, key = find_session("agent", self.directory, **given)
        self.assertEqual(key.agent_id, agent.id)
        return str(key)

    def problem(self, **given: Any) -> str:
        error = self.assertRaises(InvalidRequestError, find_session, "agent", self.directory, **given)
        return str(error)

    def test_where_each_combination_leads(self):
        for given, expected in [
            ({}, "agent:main:main"),
            ({"agent_id": "Work"}, "agent:work:main"),
            ({"agent_id": ""}, "agent:main:main"),
            ({"key": "main"}, "agent:main:main"),
            ({"key": "foo"}, "agent:main:foo"),
            ({"key": "Foo", "agent_id": "work"}, "agent:work:foo"),
            ({"key": "agent:work:foo"}, "agent:work:foo"),
            ({"key": "agent:work:foo", "agent_id": "work"}, "agent:work:foo"),
            ({"chosen_id": "S1"}, "agent:main:explicit:s1"),
            ({"chosen_id": "s1", "agent_id": "work"}, "agent:work:explicit:s1"),
            ({"chosen_id": "agent:work:foo"}, "agent:work:foo"),
            ({"chosen_id": "s1", "key": "foo"}, "agent:main:foo"),
        ]:
            self.assertEqual(self.key(**given), expected, given)

    def test_what_is_wrong_is_named(self):
        for given, words in [
            ({"agent_id": "x"}, 'invalid agent params: unknown agent id "x". The agents are: main, work.'),
            ({"key": "agent:x:y"}, 'invalid agent params: unknown agent id "x"'),
            ({"key": "agent::"}, 'invalid agent params: malformed session key "agent::"'),
            ({"key": "  "}, 'malformed session key "  "'),
            ({"key": "cron:x"}, "reserved"),
            ({"key": "k" * 600}, "longer than"),
            ({"key": "a\nb"}, 'malformed session key "a?b"'),
            (
                {"key": "agent:work:x", "agent_id": "main"},
                'agent "main" does not match session key agent "work"',
            ),
            ({"chosen_id": "\x00"}, "malformed session key"),
        ]:
            self.assertIn(words, self.problem(**given))
