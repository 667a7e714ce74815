from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted import errors
from openclaw_twisted.errors import GatewayError
from openclaw_twisted.ws.dispatch import Dispatcher, Exchange
from openclaw_twisted.ws.method import Answer, Call, Method
from tests.ws.rig import client_of


class Params(msgspec.Struct, forbid_unknown_fields=True):
    n: int = 0


class ExchangeTestCase(SynchronousTestCase):
    """One client before two methods: `agent` does what a test wants, `health` answers at once."""

    def setUp(self):
        self.sent: list[Any] = []
        self.behaviour: Any = None
        self.cancelled: list[int] = []
        self.waiting: dict[int, Deferred[Answer[Any]]] = {}
        methods = (Method("agent", Params, self.agent), Method("health", Params, self.health))
        self.dispatcher = Dispatcher(methods)
        self.exchange = self.exchange_of(4)

    def exchange_of(self, protocol: int, *scopes: str) -> Exchange:
        return Exchange(
            self.dispatcher, client_of(protocol, *scopes), lambda frame: self.sent.append(json.loads(frame))
        )

    async def agent(self, call: Call, params: Params) -> Answer[Any]:
        if isinstance(self.behaviour, Exception):
            raise self.behaviour
        call.accept({"n": params.n})
        self.waiting[params.n] = Deferred(lambda _: self.cancelled.append(params.n))
        return await self.waiting[params.n]

    async def health(self, call: Call, params: Params) -> Answer[Any]:
        return Answer({"ok": True})

    def ask(self, request_id: str, method: str, params: Any = None, **more: Any) -> None:
        frame = {"type": "req", "id": request_id, "method": method, "params": params, **more}
        self.exchange.receive(json.dumps(frame).encode())

    def error(self) -> Any:
        response = self.sent.pop()
        self.assertFalse(response["ok"])
        return response["error"]


class RequestTests(ExchangeTestCase):
    def test_names_are_sorted(self):
        self.assertEqual(self.dispatcher.names, ("agent", "health"))

    def test_responses_come_in_whatever_order_they_are_ready(self):
        self.ask("a", "agent", {"n": 1})
        self.ask("b", "agent", {"n": 2})
        self.ask("c", "health")
        self.waiting[2].callback(Answer("two"))
        self.waiting[1].callback(Answer("one"))
        self.assertEqual(
            [(frame["id"], frame["payload"]) for frame in self.sent],
            [("a", {"n": 1}), ("b", {"n": 2}), ("c", {"ok": True}), ("b", "two"), ("a", "one")],
        )

    def test_what_is_no_request(self):
        self.exchange.receive(b"not json")
        self.assertEqual(self.sent, [])
        self.exchange.receive(b'{"type":"req","method":"health"}')
        self.assertEqual(self.sent[-1]["id"], "invalid")
        self.assertEqual(
            self.error(),
            {"code": "INVALID_REQUEST", "message": "invalid request frame: must have required property 'id'"},
        )
        self.ask("1", "health", foo=1)
        self.assertEqual(self.sent[-1]["id"], "1")
        self.assertEqual(self.error()["message"], "invalid request frame: at root: unexpected property 'foo'")

    def test_methods_that_cannot_be_called(self):
        for method, message in [
            ("connect", "connect is only valid as the first request"),
            ("nope", "unknown method: nope"),
            ("x" * 200, f"unknown method: {'x' * 80}..."),
        ]:
            self.ask("1", method)
            self.assertEqual(self.error(), {"code": "INVALID_REQUEST", "message": message})

    def test_params_that_do_not_fit(self):
        self.ask("1", "agent", {"x": 1})
        self.assertEqual(
            self.error(),
            {"code": "INVALID_REQUEST", "message": "invalid agent params: at root: unexpected property 'x'"},
        )

    def test_a_client_that_is_gone_is_not_waited_for(self):
        self.ask("a", "agent", {"n": 1})
        self.exchange.close()
        self.assertEqual(self.cancelled, [1])
        self.assertEqual(len(self.sent), 1)

    def test_what_has_been_answered_is_not_cancelled(self):
        self.ask("a", "health")
        self.exchange.close()
        self.assertTrue(self.sent[0]["ok"])


class ScopeTests(ExchangeTestCase):
    def test_version_4_is_told_what_it_lacks(self):
        self.exchange = self.exchange_of(4, "operator.read")
        self.ask("1", "agent")
        self.assertEqual(
            self.error(),
            {
                "code": "FORBIDDEN",
                "message": "missing scope: operator.write",
                "details": {
                    "code": "MISSING_SCOPE",
                    "missingScope": "operator.write",
                    "requiredScopes": ["operator.write"],
                },
            },
        )

    def test_version_3_reads_the_message(self):
        self.exchange = self.exchange_of(3, "operator.read")
        self.ask("1", "agent")
        self.assertEqual(
            self.error(), {"code": "INVALID_REQUEST", "message": "missing scope: operator.write"}
        )

    def test_health_needs_none(self):
        self.exchange = self.exchange_of(4, "none")
        self.ask("1", "health")
        self.assertTrue(self.sent[0]["ok"])

    def test_a_method_that_is_not_in_the_table_is_nobodys(self):
        self.dispatcher = Dispatcher([Method("secret", Params, self.health)])
        self.exchange = self.exchange_of(4)
        self.ask("1", "secret")
        self.assertEqual(self.error()["code"], "FORBIDDEN")


class ErrorTests(ExchangeTestCase):
    def fault(self, error: Exception) -> Any:
        self.behaviour = error
        self.ask("1", "agent")
        return self.error()

    def test_codes(self):
        for error, code in [
            (errors.InvalidRequestError("m"), "INVALID_REQUEST"),
            (errors.AgentNotFoundError("m"), "INVALID_REQUEST"),
            (errors.ContextLengthError("m"), "INVALID_REQUEST"),
            (errors.ForbiddenError("m"), "FORBIDDEN"),
            (errors.NoProviderError("m"), "UNAVAILABLE"),
            (errors.UpstreamError("m"), "UNAVAILABLE"),
        ]:
            self.assertEqual(self.fault(error), {"code": code, "message": "m"})

    def test_what_is_worth_another_try(self):
        for error in [
            errors.OverloadedError("m", retry_after_seconds=5),
            errors.UpstreamRateLimitError("m", retry_after_seconds=5),
        ]:
            self.assertEqual(
                self.fault(error),
                {"code": "UNAVAILABLE", "message": "m", "retryable": True, "retryAfterMs": 5000},
            )

    def test_a_defect_is_logged_and_not_told(self):
        fault = self.fault(ZeroDivisionError("secret"))
        self.assertEqual(fault["code"], "UNAVAILABLE")
        self.assertNotIn("secret", fault["message"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_error_may_come_with_a_payload(self):
        self.ask("1", "agent")
        self.waiting[0].callback(Answer({"status": "error"}, error=GatewayError("m")))
        response = self.sent[-1]
        self.assertEqual(
            (response["ok"], response["payload"], response["error"]),
            (False, {"status": "error"}, {"code": "UNAVAILABLE", "message": "m"}),
        )
