from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import TrustedProxies, client_address
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.config.settings import AuthSettings, Secret, TrustedProxySettings
from openclaw_twisted.ws.connect import Client, Login, Refusal, Visitor, log_in
from tests.ws.rig import ALL_SCOPES, TOKEN, connect_params

REMOTE = "203.0.113.9"
DEVICE = {"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"}


class ConnectTestCase(SynchronousTestCase):
    auth = AuthSettings(token=Secret(TOKEN))
    headers: Mapping[str, str] = MappingProxyType({})
    proxies = TrustedProxies()

    def setUp(self):
        limiter = FailureLimiter(self.auth.rate_limit, Clock().seconds)
        self.gate = Gate(self.auth, limiter, trusted_proxies=self.proxies)

    def judge(self, frame: Any, peer: str = REMOTE) -> Login | Refusal:
        data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        headers = Headers({name: [value] for name, value in self.headers.items()})
        visitor = Visitor(address=client_address(peer, headers, self.proxies), headers=headers)
        return log_in(data, visitor, self.gate)

    def connect(self, protocol: int = 4, **params: Any) -> Login | Refusal:
        """Send a connect request; a param that is None is left out."""
        given = {
            name: value for name, value in connect_params(protocol, **params).items() if value is not None
        }
        return self.judge({"type": "req", "id": "1", "method": "connect", "params": given})

    def client(self, **given: Any) -> Client:
        login = self.connect(**given)
        assert isinstance(login, Login), login
        return login.client

    def refused(self, **given: Any) -> Refusal:
        refusal = self.connect(**given)
        assert isinstance(refusal, Refusal)
        return refusal

    def told(self, refusal: Refusal) -> tuple[str, str, Any, int, str]:
        fault = refusal.fault
        assert fault is not None
        return fault.code, fault.message, fault.details, refusal.close_code, refusal.close_reason


class LoginTests(ConnectTestCase):
    def test_scopes_are_those_asked_for_that_the_credential_holds(self):
        self.assertEqual(self.client().scopes, frozenset(ALL_SCOPES))
        self.assertEqual(self.client(scopes=["operator.read", "x"]).scopes, {"operator.read"})
        self.assertEqual(self.client(scopes=None).scopes, frozenset())

    def test_the_newest_protocol_that_both_speak(self):
        for low, high, chosen in [(3, 3, 3), (4, 4, 4), (3, 4, 4), (1, 3, 3), (4, 9, 4)]:
            self.assertEqual(self.client(minProtocol=low, maxProtocol=high).protocol, chosen)

    def test_the_secret_may_stand_in_the_other_field(self):
        self.assertEqual(self.client(auth={"password": TOKEN}).identity.name, "operator")

    def test_every_connection_has_an_id_of_its_own(self):
        self.assertNotEqual(self.client().connection_id, self.client().connection_id)

    def test_a_device_changes_nothing(self):
        self.assertEqual(self.client(device=DEVICE).scopes, frozenset(ALL_SCOPES))
        self.assertEqual(self.refused(device=DEVICE, auth=None).kind, "AUTH_TOKEN_MISSING")

    def test_the_samples_of_openclaws_clients(self):
        tui = {"id": "openclaw-tui", "version": "1", "platform": "linux", "mode": "ui", "displayName": "x"}
        page = {"id": "openclaw-control-ui", "version": "1", "platform": "web", "mode": "webchat"}
        self.client(client=tui, caps=["tool-events"], device=DEVICE)
        self.client(client=page | {"buildId": "b", "timeZone": "UTC"}, locale="en", userAgent="Mozilla")
        self.client(protocol=3, role=None, scopes=["operator.read"], device={**DEVICE})


class RefusalTests(ConnectTestCase):
    def test_first_frames_that_are_no_connect(self):
        for data, code, reason in [(b"hello", 1000, ""), (b"[1]", 1008, "invalid request frame")]:
            refusal = self.judge(data)
            assert isinstance(refusal, Refusal)
            self.assertEqual((refusal.close_code, refusal.close_reason, refusal.fault), (code, reason, None))
            self.assertEqual(refusal.kind, "NO_REQUEST")
        refusal = self.judge({"type": "req", "id": "9", "method": "health"})
        assert isinstance(refusal, Refusal)
        message = "invalid handshake: first request must be connect"
        self.assertEqual(self.told(refusal)[:2], ("INVALID_REQUEST", message))
        self.assertEqual((refusal.request_id, refusal.close_code, refusal.close_reason), ("9", 1008, message))

    def test_params_that_do_not_fit(self):
        client = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
        bad: list[tuple[dict[str, Any], str]] = [
            ({"client": None}, "must have required property 'client'"),
            ({"client": client | {"id": 5}}, "at /client/id: expected `str`, got `int`"),
            ({"client": client | {"id": ""}}, "at /client/id: expected `str` of length >= 1"),
            ({"client": client | {"x": 1}}, "at /client: unexpected property 'x'"),
            ({"foo": 1}, "at root: unexpected property 'foo'"),
            ({"minProtocol": "4"}, "at /minProtocol: expected `int`, got `str`"),
            ({"minProtocol": 0}, "at /minProtocol: expected `int` >= 1"),
            ({"scopes": "operator.admin"}, "at /scopes: expected `array`, got `str`"),
            ({"auth": {"token": 5}}, "at /auth/token: expected `str | null`, got `int`"),
            ({"device": {"id": "d"}}, "at /device: must have required property 'publicKey'"),
        ]
        for params, problem in bad:
            code, message, _, close_code, reason = self.told(self.refused(**params))
            self.assertEqual(message, f"invalid connect params: {problem}")
            self.assertEqual((code, close_code, reason), ("INVALID_REQUEST", 1008, message))

    def test_a_protocol_that_we_do_not_speak(self):
        for low, high in [(5, 6), (1, 2), (4, 3)]:
            code, message, details, close_code, reason = self.told(
                self.refused(minProtocol=low, maxProtocol=high)
            )
            self.assertEqual(
                (code, message, close_code, reason),
                ("INVALID_REQUEST", "protocol mismatch", 1002, "protocol mismatch"),
            )
            self.assertEqual(
                details,
                {
                    "code": "PROTOCOL_MISMATCH",
                    "clientMinProtocol": low,
                    "clientMaxProtocol": high,
                    "expectedProtocol": 4,
                    "minimumProbeProtocol": 3,
                },
            )

    def test_a_role_that_we_do_not_serve(self):
        self.assertEqual(self.told(self.refused(role="node"))[1], "invalid role")

    def test_no_token_or_a_wrong_one(self):
        for auth, word, step in [
            (None, "missing", "update_auth_configuration"),
            ({}, "missing", "update_auth_configuration"),
            ({"deviceToken": TOKEN}, "missing", "update_auth_configuration"),
            ({"token": "x"}, "mismatch", "update_auth_credentials"),
            ({"token": "x" * 5000}, "mismatch", "update_auth_credentials"),
        ]:
            code, message, details, close_code, reason = self.told(self.refused(auth=auth))
            self.assertEqual((code, close_code, reason), ("INVALID_REQUEST", 1008, message))
            self.assertIn(f"unauthorized: gateway token {word}", message)
            self.assertEqual(
                details,
                {
                    "code": f"AUTH_TOKEN_{word.upper()}",
                    "authReason": f"token_{word}",
                    "canRetryWithDeviceToken": False,
                    "recommendedNextStep": step,
                },
            )

    def test_who_guesses_too_often_has_to_wait(self):
        for _ in range(10):
            self.refused(auth={"token": "x"})
        refusal = self.refused()
        assert refusal.fault is not None
        self.assertEqual(refusal.kind, "AUTH_RATE_LIMITED")
        self.assertEqual((refusal.fault.retryable, refusal.fault.retry_after_ms), (True, 120_000))


class PasswordTests(ConnectTestCase):
    auth = AuthSettings(password=Secret("open sesame"))

    def test_the_words_name_the_password(self):
        self.assertEqual(self.client(auth={"password": "open sesame"}).identity.name, "operator")
        self.assertEqual(self.refused(auth={"password": "x"}).kind, "AUTH_PASSWORD_MISMATCH")
        self.assertEqual(self.refused(auth=None).kind, "AUTH_PASSWORD_MISSING")


class OpenTests(ConnectTestCase):
    auth = AuthSettings(mode="none")

    def test_nobody_is_asked(self):
        self.assertEqual(self.client(auth=None).identity.name, "local")

    def test_but_nobody_comes_through_a_proxy(self):
        self.headers = {"x-forwarded-for": "198.51.100.7"}
        self.assertEqual(self.refused(auth=None).kind, "AUTH_UNAUTHORIZED")


class TrustedProxyTests(ConnectTestCase):
    proxies = TrustedProxies([REMOTE])
    auth = AuthSettings(mode="trusted-proxy", trusted_proxy=TrustedProxySettings(user_header="x-user"))

    def test_the_proxy_names_the_user_in_the_upgrade(self):
        self.headers = {"x-user": "ann", "x-forwarded-for": "198.51.100.7"}
        self.assertEqual(self.client(auth=None).identity.name, "ann")

    def test_without_its_header_nobody_comes_in(self):
        self.assertEqual(self.refused(auth=None).kind, "AUTH_UNAUTHORIZED")
