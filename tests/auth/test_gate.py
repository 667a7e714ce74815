from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.addresses import TrustedProxies, client_address
from openclaw_twisted.auth.credentials import from_connect, from_headers
from openclaw_twisted.auth.gate import Gate, Identity
from openclaw_twisted.auth.rate_limit import FailureLimiter
from openclaw_twisted.auth.scopes import ALL
from openclaw_twisted.config.settings import AuthSettings, Secret, TrustedProxySettings
from openclaw_twisted.errors import ConfigError, ForbiddenError, RateLimitedError, UnauthorizedError

TOKEN = "0123456789abcdef0123456789ABCDEF"
REMOTE = "203.0.113.9"


class GateTestCase(SynchronousTestCase):
    trusted = TrustedProxies()

    def gate(self, auth: AuthSettings, *, generated_token: Secret | None = None) -> Gate:
        limiter = FailureLimiter(auth.rate_limit, Clock().seconds)
        self.refusals: list[str | None] = []
        return Gate(
            auth,
            limiter,
            generated_token=generated_token,
            trusted_proxies=self.trusted,
            observe=lambda error: self.refusals.append(error.code),
        )

    def knock(self, gate: Gate, peer: str = REMOTE, **fields: str | bytes) -> Identity:
        """Do what the HTTP door does with a request that has these headers."""
        headers = Headers()
        for name, value in fields.items():
            headers.addRawHeader(
                name.replace("_", "-").encode(), value.encode() if isinstance(value, str) else value
            )
        return gate.check(from_headers(headers), client_address(peer, headers, self.trusted))

    def refused(self, gate: Gate, peer: str = REMOTE, **fields: str | bytes) -> None:
        error = self.assertRaises(UnauthorizedError, self.knock, gate, peer, **fields)
        self.assertEqual((error.message, error.code), ("Unauthorized", "unauthorized"))


class SharedSecretTests(GateTestCase):
    def setUp(self):
        self.door = self.gate(AuthSettings(token=Secret(TOKEN)))

    def test_the_secret_opens_with_all_scopes(self):
        self.assertEqual(self.knock(self.door, authorization=f"Bearer {TOKEN}"), Identity("operator", ALL))

    def test_only_the_exact_secret_opens(self):
        wrong = [TOKEN[:-1], TOKEN + "x", "x" + TOKEN, TOKEN * 2, TOKEN.lower(), TOKEN.swapcase(), TOKEN[1:]]
        wrong += [
            TOKEN[:8] + " " + TOKEN[8:],
            TOKEN + ",",
            f'"{TOKEN}"',
            TOKEN[:-1] + "é",
            "undefined",
            "null",
        ]
        for text in wrong:
            door = self.gate(AuthSettings(token=Secret(TOKEN)))
            self.refused(door, authorization=f"Bearer {text}")
            self.refused(door, authorization=TOKEN)
            self.refused(door, authorization=f"Basic {text}")

    def test_other_places_are_not_looked_at(self):
        self.refused(self.door, x_api_key=TOKEN, cookie=f"token={TOKEN}", x_openclaw_token=TOKEN)

    def test_no_credential_is_refused_but_is_no_attempt(self):
        for _ in range(50):
            self.refused(self.door)
        self.knock(self.door, authorization=f"Bearer {TOKEN}")

    def test_wrong_secrets_lock_out_even_the_right_one_from_that_address_only(self):
        for _ in range(10):
            self.refused(self.door, authorization="Bearer wrong")
        for text in ("wrong", TOKEN):
            self.assertRaises(RateLimitedError, self.knock, self.door, authorization=f"Bearer {text}")
        self.assertEqual(
            self.knock(self.door, "203.0.113.10", authorization=f"Bearer {TOKEN}").name, "operator"
        )

    def test_refused_attempts_are_told(self):
        self.refused(self.door)
        self.knock(self.door, authorization=f"Bearer {TOKEN}")
        self.assertEqual(self.refusals, [])
        for _ in range(10):
            self.refused(self.door, authorization="Bearer wrong")
        self.assertRaises(RateLimitedError, self.knock, self.door, authorization=f"Bearer {TOKEN}")
        self.assertRaises(RateLimitedError, self.knock, self.door)
        self.assertEqual(self.refusals, ["unauthorized"] * 10 + ["rate_limited"])

    def test_malformed_offers_are_attempts_too(self):
        for _ in range(10):
            self.refused(self.door, authorization=b"Bearer a\x00b")
        self.assertRaises(RateLimitedError, self.knock, self.door, authorization=f"Bearer {TOKEN}")

    def test_success_starts_the_count_afresh(self):
        for _ in range(3):
            for _ in range(9):
                self.refused(self.door, authorization="Bearer wrong")
            self.knock(self.door, authorization=f"Bearer {TOKEN}")

    def test_both_doors_share_one_count(self):
        for _ in range(10):
            self.refused(self.door, authorization="Bearer wrong")
        offered = from_connect(TOKEN, None, mode=self.door.mode, headers=Headers())
        client = client_address(REMOTE, Headers(), self.trusted)
        self.assertRaises(RateLimitedError, self.door.check, offered, client)

    def test_this_machine_is_not_locked_out_but_still_needs_the_secret(self):
        for _ in range(50):
            self.refused(self.door, "127.0.0.1", authorization="Bearer wrong")
        self.refused(self.door, "127.0.0.1")
        self.knock(self.door, "127.0.0.1", authorization=f"Bearer {TOKEN}")

    def test_a_web_page_on_this_machine_is_locked_out(self):
        for _ in range(10):
            self.refused(self.door, "127.0.0.1", authorization="Bearer wrong", origin="https://evil.example")
        self.assertRaises(
            RateLimitedError, self.knock, self.door, "127.0.0.1", authorization="Bearer x", cookie="a=b"
        )

    def test_password_mode(self):
        door = self.gate(AuthSettings(mode="password", password=Secret(" pässwort ")))
        self.knock(door, authorization="Bearer pässwort")
        self.refused(door, authorization=f"Bearer {TOKEN}")

    def test_the_generated_token_stands_in_for_a_configured_one_only(self):
        self.knock(self.gate(AuthSettings(), generated_token=Secret(TOKEN)), authorization=f"Bearer {TOKEN}")
        both = self.gate(AuthSettings(token=Secret("configured")), generated_token=Secret(TOKEN))
        self.refused(both, authorization=f"Bearer {TOKEN}")

    def test_no_empty_or_oversized_secret(self):
        for auth in (
            AuthSettings(),
            AuthSettings(token=Secret("")),
            AuthSettings(token=Secret(" \t\n")),
            AuthSettings(token=Secret("x" * 5000)),
            AuthSettings(mode="password"),
            AuthSettings(mode="password", token=Secret(TOKEN)),
        ):
            error = self.assertRaises(ConfigError, self.gate, auth)
            self.assertIn("OPENCLAW_GATEWAY_", error.message)

    def test_forwarding_headers_of_strangers_are_mentioned_once(self):
        with capturedLogs() as events:
            for _ in range(3):
                self.refused(self.door, x_forwarded_for="127.0.0.1")
        self.assertEqual([event["peer"] for event in events], [REMOTE])


class NoneTests(GateTestCase):
    trusted = TrustedProxies(["127.0.0.2"])

    def test_direct_callers_are_let_in(self):
        door = self.gate(AuthSettings(mode="none"))
        self.assertEqual(self.knock(door, "127.0.0.1"), Identity("local", ALL))
        self.assertEqual(self.knock(door, "127.0.0.1", authorization="Bearer whatever").name, "local")

    def test_a_proxy_does_not_make_everybody_local(self):
        door = self.gate(AuthSettings(mode="none"))
        for peer in ("127.0.0.1", "127.0.0.2"):
            error = self.assertRaises(ForbiddenError, self.knock, door, peer, x_forwarded_for="6.6.6.6")
            self.assertIn("gateway.auth.mode", error.message)


class TrustedProxyTests(GateTestCase):
    trusted = TrustedProxies(["10.0.0.1", "127.0.0.2"])
    proxy = TrustedProxySettings(user_header="X-Forwarded-User", required_headers=("x-forwarded-proto",))

    def door(self, proxy: TrustedProxySettings | None = None) -> Gate:
        return self.gate(AuthSettings(mode="trusted-proxy", trusted_proxy=proxy or self.proxy))

    def test_the_proxy_names_the_user(self):
        who = self.knock(
            self.door(), "10.0.0.1", x_forwarded_user=" nick@example.org ", x_forwarded_proto="https"
        )
        self.assertEqual(who, Identity("nick@example.org", ALL))

    def test_nobody_else_can(self):
        for peer in ("10.0.0.2", "127.0.0.1", "203.0.113.9"):
            self.refused(self.door(), peer, x_forwarded_user="nick@example.org", x_forwarded_proto="https")

    def test_a_proxy_on_this_machine_has_to_be_allowed(self):
        fields = {"x_forwarded_user": "nick", "x_forwarded_proto": "https"}
        self.refused(self.door(), "127.0.0.2", **fields)
        allowing = TrustedProxySettings(user_header="x-forwarded-user", allow_loopback=True)
        self.assertEqual(self.knock(self.door(allowing), "127.0.0.2", **fields).name, "nick")

    def test_missing_or_odd_headers(self):
        self.refused(self.door(), "10.0.0.1", x_forwarded_proto="https")
        self.refused(self.door(), "10.0.0.1", x_forwarded_user="", x_forwarded_proto="https")
        self.refused(self.door(), "10.0.0.1", x_forwarded_user="a\x01b", x_forwarded_proto="https")
        self.refused(self.door(), "10.0.0.1", x_forwarded_user="nick")

    def test_the_proxy_may_leave_its_user_some_scopes_only(self):
        fields = {"x_forwarded_user": "nick", "x_forwarded_proto": "https"}
        for told, scopes in {
            "operator.read": {"operator.read"},
            " operator.write , operator.approvals,": {"operator.write", "operator.approvals"},
            "operator.admin": {"operator.admin"},
            "operator.talk.secrets": set(),
            "": set(),
            "operator.read\x01": set(),
        }.items():
            user = self.knock(self.door(), "10.0.0.1", x_openclaw_scopes=told, **fields)
            self.assertEqual(user, Identity("nick", frozenset(scopes)))
        self.assertEqual(self.knock(self.door(), "10.0.0.1", **fields).scopes, ALL)

    def test_doubled_scopes_are_none(self):
        headers = Headers({b"x-forwarded-user": [b"nick"], b"x-forwarded-proto": [b"https"]})
        headers.setRawHeaders(b"x-openclaw-scopes", [b"operator.admin", b"operator.read"])
        client = client_address("10.0.0.1", headers, self.trusted)
        self.assertEqual(self.door().check(from_headers(headers), client).scopes, frozenset())

    def test_a_doubled_user_header_is_nobody(self):
        headers = Headers({b"x-forwarded-user": [b"evil", b"nick"], b"x-forwarded-proto": [b"https"]})
        client = client_address("10.0.0.1", headers, self.trusted)
        self.assertRaises(UnauthorizedError, self.door().check, from_headers(headers), client)

    def test_only_allowed_users(self):
        door = self.door(TrustedProxySettings(user_header="x-user", allow_users=("nick",)))
        self.assertEqual(self.knock(door, "10.0.0.1", x_user="nick").name, "nick")
        self.refused(door, "10.0.0.1", x_user="Nick")

    def test_who_is_named_in_vain_has_tried_and_who_is_not_has_not(self):
        door = self.door()
        self.refused(door, "203.0.113.9", x_forwarded_user="nick")
        self.refused(door, "10.0.0.1", x_forwarded_proto="https")
        self.assertEqual(self.refusals, ["unauthorized"])

    def test_a_token_does_not_help(self):
        door = self.gate(AuthSettings(mode="trusted-proxy", token=Secret(TOKEN), trusted_proxy=self.proxy))
        self.refused(door, "10.0.0.1", authorization=f"Bearer {TOKEN}")

    def test_what_is_missing_is_named_together(self):
        auth = AuthSettings(mode="trusted-proxy")
        limiter = FailureLimiter(auth.rate_limit, Clock().seconds)
        error = self.assertRaises(ConfigError, Gate, auth, limiter)
        paths = [problem.path for problem in error.problems]
        self.assertEqual(paths, ["gateway.trustedProxies", "gateway.auth.trustedProxy.userHeader"])

    def test_everybody_is_no_proxy(self):
        self.trusted = TrustedProxies(["0.0.0.0/0"])
        self.assertRaises(ConfigError, self.door)
