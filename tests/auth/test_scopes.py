from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.auth.scopes import ALL, NEEDED, Scope, allows, authorise, grant, needed
from openclaw_twisted.errors import ForbiddenError


class NeededTests(SynchronousTestCase):
    def test_one_of_each(self):
        cases: dict[str, Scope | None] = {
            "health": None,
            "GET /healthz": None,
            "status": Scope.READ,
            "GET /v1/models": Scope.READ,
            "GET /metrics": Scope.READ,
            "agent": Scope.WRITE,
            "POST /v1/chat/completions": Scope.WRITE,
            "config.set": Scope.ADMIN,
            "exec.approval.list": Scope.APPROVALS,
            "plugin.approval.list": Scope.APPROVALS,
            "device.pair.approve": Scope.PAIRING,
            "node.pair.list": Scope.PAIRING,
            "question.list": Scope.QUESTIONS,
        }
        for name, scope in cases.items():
            self.assertEqual(needed(name), scope, name)

    def test_a_name_without_a_line_is_nobodys(self):
        for name in (
            "",
            "config",
            "config.set.x",
            "GET /v1/chat/completions",
            "GET /v1/models/",
            "exec.approval",
        ):
            self.assertRaises(ForbiddenError, needed, name)
            self.assertRaises(ForbiddenError, authorise, ALL, name)

    def test_only_health_and_the_front_page_are_public(self):
        public = {name for name, scope in NEEDED.items() if scope is None}
        probes = {"GET /health", "GET /healthz", "GET /ready", "GET /readyz"}
        self.assertEqual(public, {"health", "GET /", *probes})


class AllowsTests(SynchronousTestCase):
    def test_the_whole_matrix(self):
        implied = {Scope.ADMIN: set(Scope), Scope.WRITE: {Scope.WRITE, Scope.READ}}
        for held in Scope:
            for scope in Scope:
                expected = scope in implied.get(held, {held})
                self.assertEqual(allows({held}, scope), expected, f"{held} for {scope}")

    def test_nothing_is_enough_for_what_anybody_may(self):
        self.assertTrue(allows(frozenset(), None))
        self.assertFalse(allows(frozenset(), Scope.READ))

    def test_authorise_names_what_is_missing(self):
        authorise({Scope.WRITE}, "chat.send")
        error = self.assertRaises(ForbiddenError, authorise, {Scope.READ}, "chat.send")
        self.assertEqual(error.message, "missing scope: operator.write")


class GrantTests(SynchronousTestCase):
    def test_the_master_secret_gets_what_it_asks_for(self):
        self.assertEqual(grant(ALL, ["operator.read"]), {"operator.read"})
        self.assertEqual(grant(ALL, []), frozenset())

    def test_nobody_gets_more_than_they_hold(self):
        asked = ["operator.admin", "operator.read", "operator.write", "made.up"]
        self.assertEqual(grant({"operator.write"}, asked), {"operator.read", "operator.write"})
        self.assertEqual(grant(ALL, ["made.up"]), frozenset())
