from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import TrustedProxies, client_address
from openclaw_twisted.auth.device_tokens import DeviceTokens
from openclaw_twisted.auth.gate import Gate
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.config.settings import AuthSettings, Secret, TrustedProxySettings
from openclaw_twisted.ws.connect import Client, Desk, Login, Visitor, log_in
from openclaw_twisted.ws.refusal import Refusal
from tests.ws.devices import Device
from tests.ws.rig import ALL_SCOPES, NOW, TOKEN, connect_params

REMOTE = "203.0.113.9"
NONCE = "the-nonce-of-this-connection"
NOW_MS = int(NOW * 1000)


class ConnectTestCase(SynchronousTestCase):
    auth = AuthSettings(token=Secret(TOKEN))
    headers: Mapping[str, str] = MappingProxyType({})
    proxies = TrustedProxies()

    def setUp(self):
        limiter = FailureLimiter(self.auth.rate_limit, Clock().seconds)
        gate = Gate(self.auth, limiter, trusted_proxies=self.proxies)
        self.now = NOW
        self.tokens = DeviceTokens(None, gate.secret_digest)
        self.desk = Desk(gate=gate, tokens=self.tokens, now=lambda: self.now)

    def judge(self, frame: Any, peer: str = REMOTE) -> Login | Refusal:
        data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        headers = Headers({name: [value] for name, value in self.headers.items()})
        visitor = Visitor(address=client_address(peer, headers, self.proxies), headers=headers)
        return log_in(data, visitor, self.desk, nonce=NONCE)

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
        details = msgspec.to_builtins(fault.details) if fault.details is not UNSET else UNSET
        return fault.code, fault.message, details, refusal.close_code, refusal.close_reason


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

    def test_the_samples_of_openclaws_clients(self):
        tui = {"id": "openclaw-tui", "version": "1", "platform": "linux", "mode": "ui", "displayName": "x"}
        page = {"id": "openclaw-control-ui", "version": "1", "platform": "web", "mode": "webchat"}
        self.client(client=tui, caps=["tool-events"])
        self.client(client=page | {"buildId": "b", "timeZone": "UTC"}, locale="en", userAgent="Mozilla")
        self.client(client=page, modelCatalog={"sessionKey": "main"}, computerUse={}, workerRuns=None)
        self.client(protocol=3, role=None, scopes=["operator.read"])


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
        for low, high in [(5, 6), (5, 4)]:
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
        for low, high in [(1, 2), (4, 3)]:
            details = self.told(self.refused(minProtocol=low, maxProtocol=high))[2]
            self.assertEqual(details, {"expectedProtocol": 4})

    def test_a_role_that_we_do_not_serve(self):
        self.assertEqual(self.told(self.refused(role="node"))[1], "invalid role")

    def test_a_wrong_token(self):
        for auth in ({"token": "x"}, {"token": "x" * 5000}):
            code, message, details, close_code, reason = self.told(self.refused(auth=auth))
            self.assertEqual((code, close_code, reason), ("INVALID_REQUEST", 1008, message))
            self.assertIn("unauthorized: gateway token mismatch", message)
            self.assertEqual(
                details,
                {
                    "code": "AUTH_TOKEN_MISMATCH",
                    "authReason": "token_mismatch",
                    "canRetryWithDeviceToken": False,
                    "recommendedNextStep": "update_auth_credentials",
                },
            )

    def test_neither_a_token_nor_a_device(self):
        for auth in (None, {}, {"bootstrapToken": TOKEN}):
            code, message, details, close_code, reason = self.told(self.refused(auth=auth))
            self.assertEqual((code, close_code, reason), ("NOT_PAIRED", 1008, message))
            self.assertEqual(details, {"code": "DEVICE_IDENTITY_REQUIRED"})

    def test_a_device_token_without_a_device(self):
        self.assertEqual(self.refused(auth={"deviceToken": TOKEN}).kind, "AUTH_DEVICE_TOKEN_MISMATCH")

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
        self.assertEqual(self.refused(auth=None).kind, "DEVICE_IDENTITY_REQUIRED")


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

    def test_nobody_gets_more_scopes_than_the_proxy_says(self):
        self.headers = {"x-user": "ann", "x-openclaw-scopes": "operator.write"}
        self.assertEqual(self.client(auth=None).scopes, {"operator.read", "operator.write"})


class DeviceTestCase(ConnectTestCase):
    def setUp(self):
        super().setUp()
        self.device = Device()

    def with_device(self, form: str = "v3", *, nonce: str = NONCE, at_ms: int = NOW_MS, **given: Any) -> Any:
        """Return connect params that the device has signed."""
        return self.device.sign(connect_params(**given), nonce=nonce, at_ms=at_ms, form=form)


class DeviceTests(DeviceTestCase):
    def test_both_forms_of_the_signature(self):
        info = connect_params()["client"] | {"platform": " Linux ", "deviceFamily": "Mac"}
        for form in ("v3", "v2"):
            client = self.client(**self.with_device(form, client=info))
            self.assertEqual(client.device_id, self.device.id)
            self.assertEqual(client.scopes, frozenset(ALL_SCOPES))

    def test_a_device_that_is_not_believed(self):
        good, other = self.with_device(), Device()
        device = good["device"]
        for changed, code, reason in [
            ({"signature": device["publicKey"]}, "SIGNATURE_INVALID", "device-signature"),
            ({"signature": "no base64!"}, "SIGNATURE_INVALID", "device-signature"),
            ({"nonce": "another"}, "NONCE_MISMATCH", "device-nonce-mismatch"),
            ({"nonce": None}, "NONCE_REQUIRED", "device-nonce-missing"),
            ({"signedAt": NOW_MS - 120_001}, "SIGNATURE_EXPIRED", "device-signature-stale"),
            ({"signedAt": NOW_MS + 120_001}, "SIGNATURE_EXPIRED", "device-signature-stale"),
            ({"signedAt": NOW_MS + 1}, "SIGNATURE_INVALID", "device-signature"),
            ({"id": other.id}, "DEVICE_ID_MISMATCH", "device-id-mismatch"),
            ({"publicKey": "AAAA"}, "PUBLIC_KEY_INVALID", "device-public-key"),
            ({"publicKey": "\u00e4"}, "PUBLIC_KEY_INVALID", "device-public-key"),
        ]:
            refusal = self.refused(**good | {"device": device | changed})
            told = self.told(refusal)
            self.assertEqual(told[2], {"code": f"DEVICE_AUTH_{code}", "reason": reason})
            self.assertEqual((told[0], told[3], told[4]), ("INVALID_REQUEST", 1008, told[1]))

    def test_the_signature_covers_what_is_asked_for(self):
        good = self.with_device(scopes=["operator.read"])
        for changed in ({"scopes": ["operator.admin"]}, {"client": good["client"] | {"mode": "ui"}}):
            self.assertEqual(self.refused(**good | changed).kind, "DEVICE_AUTH_SIGNATURE_INVALID")

    def test_two_minutes_either_way_are_fine(self):
        for at_ms in (NOW_MS - 120_000, NOW_MS + 120_000):
            self.client(**self.with_device(at_ms=at_ms))

    def test_without_a_token(self):
        details = self.told(self.refused(**self.with_device(auth={})))[2]
        self.assertEqual((details["code"], details["authReason"]), ("AUTH_TOKEN_MISSING", "token_missing"))


class DeviceTokenTests(DeviceTestCase):
    def token(self, **given: Any) -> str:
        """Return the token that a login with the secret gives the device."""
        issued = self.client(**self.with_device(**given)).device_token
        assert issued is not None
        return issued.token.reveal()

    def test_it_stands_in_for_the_secret(self):
        token = self.token()
        for auth in ({"deviceToken": token}, {"token": token}, {"token": token, "deviceToken": token}):
            client = self.client(**self.with_device(auth=auth))
            self.assertEqual(client.scopes, frozenset(ALL_SCOPES))
            assert client.device_token is not None
            self.assertEqual(client.device_token.token.reveal(), token)

    def test_it_holds_no_more_than_it_was_given_for(self):
        token = self.token(scopes=["operator.read"])
        client = self.client(**self.with_device(auth={"deviceToken": token}))
        self.assertEqual(client.scopes, {"operator.read"})

    def test_it_is_the_devices_own(self):
        token = self.token()
        self.device = Device()
        self.assertEqual(
            self.refused(**self.with_device(auth={"deviceToken": token})).kind, "AUTH_DEVICE_TOKEN_MISMATCH"
        )

    def test_it_needs_the_devices_signature(self):
        params = self.with_device(auth={"deviceToken": self.token()}, nonce="another")
        self.assertEqual(self.refused(**params).kind, "DEVICE_AUTH_NONCE_MISMATCH")

    def test_a_wrong_secret_of_a_device_that_has_one(self):
        wrong: dict[str, Any] = {"auth": {"token": "x"}}
        self.assertFalse(self.told(self.refused(**self.with_device(**wrong)))[2]["canRetryWithDeviceToken"])
        token = self.token()
        details = self.told(self.refused(**self.with_device(**wrong)))[2]
        self.assertEqual(
            (details["canRetryWithDeviceToken"], details["recommendedNextStep"]),
            (True, "retry_with_device_token"),
        )
        self.client(**self.with_device(auth={"token": "x", "deviceToken": token}))

    def test_another_secret_ends_it(self):
        token = self.token()
        self.tokens.rekey(b"another digest")
        self.assertEqual(
            self.refused(**self.with_device(auth={"deviceToken": token})).kind, "AUTH_DEVICE_TOKEN_MISMATCH"
        )

    def test_who_has_no_device_gets_none(self):
        self.assertIsNone(self.client().device_token)


class NoSecretTests(DeviceTestCase):
    auth = AuthSettings(mode="none")

    def test_without_a_secret_there_is_nothing_to_stand_in_for(self):
        client = self.client(**self.with_device(auth={}))
        self.assertEqual((client.device_id, client.device_token), (self.device.id, None))
