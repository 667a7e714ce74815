from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.ws.subscriptions import MAX_FOLLOWED, Following, Subscriptions


class SubscriptionsTests(SynchronousTestCase):
    def setUp(self):
        self.subscriptions = Subscriptions()

    def test_the_list_of_sessions(self):
        self.assertFalse(self.subscriptions.sessions)
        self.subscriptions.follow_sessions()
        self.assertTrue(self.subscriptions.sessions)
        self.subscriptions.leave_sessions()
        self.assertFalse(self.subscriptions.sessions)

    def test_the_messages_of_some_sessions(self):
        self.subscriptions.follow_messages("agent:main:a")
        self.assertTrue(self.subscriptions.follows_messages("agent:main:a"))
        self.assertFalse(self.subscriptions.follows_messages("agent:main:b"))
        self.subscriptions.leave_messages("agent:main:a")
        self.subscriptions.leave_messages("agent:main:a")
        self.assertFalse(self.subscriptions.follows_messages("agent:main:a"))

    def test_how_far_they_were_told_is_forgotten_with_the_last_one_who_follows(self):
        following, two = Following(), (Subscriptions(), Subscriptions())
        for subscriptions in two:
            subscriptions.join(following)
            subscriptions.follow_messages("a")
        following.told["a"] = ("s", 2)
        two[0].leave_messages("a")
        self.assertEqual(following.told, {"a": ("s", 2)})
        two[1].leave()
        self.assertEqual(following.told, {})

    def test_there_is_a_limit(self):
        for number in range(MAX_FOLLOWED):
            self.subscriptions.follow_messages(f"agent:main:{number}")
        self.subscriptions.follow_messages("agent:main:0")
        self.assertRaises(InvalidRequestError, self.subscriptions.follow_messages, "agent:main:more")
