"""What must hold between settings."""

from __future__ import annotations

from openclaw_twisted.config.settings import Secret
from tests.config.cases import STRONG, ParseCase, written

__all__ = ["AuthenticationTests", "PlaceTests"]


def auth(**keys: str) -> str:
    """Return a configuration with these keys under `gateway.auth`, as JSON5 text."""
    return written("gateway.auth", f"{{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}")


class AuthenticationTests(ParseCase):
    """A gateway that would let the wrong people in does not start."""

    def test_two_secrets_need_a_mode(self) -> None:
        both = {"token": f"'{STRONG}'", "password": "'a good password'"}
        self.problem(
            auth(**both), "gateway.auth.mode", "gateway.auth.token and gateway.auth.password are both"
        )
        for mode in ("token", "password"):
            self.assertEqual(self.settings(auth(mode=f"'{mode}'", **both)).gateway.auth.resolved_mode, mode)

    def test_two_secrets_from_two_places_are_named_by_their_places(self) -> None:
        self.problem(
            auth(password="'a good password'"),
            "gateway.auth.mode",
            "OPENCLAW_GATEWAY_TOKEN and gateway.auth.password",
            {"OPENCLAW_GATEWAY_TOKEN": STRONG},
        )

    def test_the_one_secret_chooses_the_mode(self) -> None:
        self.assertEqual(self.settings("{}").gateway.auth.resolved_mode, "token")
        self.assertEqual(self.settings(auth(token=f"'{STRONG}'")).gateway.auth.resolved_mode, "token")
        self.assertEqual(
            self.settings(auth(password="'a good password'")).gateway.auth.resolved_mode, "password"
        )

    def test_mode_password_needs_one(self) -> None:
        self.problem(auth(mode="'password'"), "gateway.auth.password", "OPENCLAW_GATEWAY_PASSWORD")

    def test_no_authentication_stays_on_loopback(self) -> None:
        for bind in ("'auto'", "'lan'", "'tailnet'", "'custom', customBindHost: '10.0.0.1'"):
            self.problem(
                f"{{gateway: {{bind: {bind}, auth: {{mode: 'none'}}}}}}", "gateway.auth.mode", "everybody"
            )
        for bind in ("'loopback'", "'custom', customBindHost: '127.0.0.2'"):
            self.settings(f"{{gateway: {{bind: {bind}, auth: {{mode: 'none'}}}}}}")

    def test_secrets_that_are_none_refuse_the_start(self) -> None:
        for word in ("", "   ", "undefined", "null", "NULL"):
            for key in ("token", "password"):
                self.problem(auth(**{key: f"'{word}'"}), f"gateway.auth.{key}", "is empty")

    def test_placeholders_refuse_the_start(self) -> None:
        words = (
            "your-token-here",
            "YOUR_GATEWAY_TOKEN",
            "<token>",
            "changeme",
            "change-me",
            "replace-with-token",
        )
        for word in (
            *words,
            "xxxxxxxx",
            "secret",
            "a-long-random-string",
            "long-random-token",
            "***",
            "[redacted]",
        ):
            self.problem(auth(token=f"'{word}'"), "gateway.auth.token", "placeholder")

    def test_secrets_of_the_environment_are_judged_alike(self) -> None:
        self.problem("{}", "OPENCLAW_GATEWAY_TOKEN", "is empty", {"OPENCLAW_GATEWAY_TOKEN": "undefined"})
        self.problem(
            "{}", "OPENCLAW_GATEWAY_PASSWORD", "placeholder", {"OPENCLAW_GATEWAY_PASSWORD": "changeme"}
        )

    def test_an_empty_variable_is_an_unset_one(self) -> None:
        gateway = self.settings(auth(token=f"'{STRONG}'"), {"OPENCLAW_GATEWAY_TOKEN": ""}).gateway
        self.assertEqual(gateway.auth.token, Secret(STRONG))

    def test_ordinary_secrets_pass(self) -> None:
        for word in (
            STRONG,
            "a good password",
            "my secret horse battery",
            "tokenizer-9f8e7d6c5b4a3",
        ):
            self.assertEqual(self.settings(auth(token=f"'{word}'")).gateway.auth.token, Secret(word))

    def test_a_short_token_is_warned_about(self) -> None:
        self.assertIn("24 characters", self.warnings(auth(token="'abcd1234'"))["gateway.auth.token"])
        self.assertEqual(self.warnings(auth(token=f"'{STRONG}'")), {})

    def test_a_short_password_is_warned_about(self) -> None:
        self.assertIn("24 characters", self.warnings(auth(password="'abcd1234'"))["gateway.auth.password"])
        self.assertEqual(self.warnings(auth(password=f"'{STRONG}'")), {})

    def test_a_secret_that_cannot_be_had_refuses_the_start(self) -> None:
        for text in ("'${NOPE}'", "'$NOPE'", "{source: 'env', provider: 'default', id: 'NOPE'}"):
            self.problem(auth(token=text), "gateway.auth.token", "needs NOPE")
            self.problem(auth(mode="'password'", password=text), "gateway.auth.password", "needs NOPE")

    def test_trusted_proxy_needs_to_know_the_proxy_and_the_header(self) -> None:
        found = self.problems(auth(mode="'trusted-proxy'"))
        self.assertEqual([*found], ["gateway.trustedProxies", "gateway.auth.trustedProxy.userHeader"])
        self.settings(
            """{gateway: {
                trustedProxies: ['10.0.0.0/8'],
                auth: {mode: 'trusted-proxy', trustedProxy: {userHeader: 'x-user'}},
            }}"""
        )

    def test_trusted_proxies_are_addresses(self) -> None:
        self.problem(
            "{gateway: {trustedProxies: ['::1', 'nginx']}}", "gateway.trustedProxies[1]", "IP address"
        )


class PlaceTests(ParseCase):
    """Addresses, origins, hosts, files."""

    def test_a_custom_bind_needs_an_address(self) -> None:
        self.problem("{gateway: {bind: 'custom'}}", "gateway.customBindHost", "is needed")
        self.problem(
            "{gateway: {bind: 'custom', customBindHost: 'box'}}", "gateway.customBindHost", "IP address"
        )

    def test_files_have_names(self) -> None:
        for key in ("gateway.tls.certPath", "gateway.tls.keyPath", "logging.file"):
            for name in ("~nobody-of-this-name/x.log", "x\\0.log"):
                self.problem(written(key, f"'{name}'"), key, "which may begin with ~/")
        for name in ("~/x.log", "logs/x~.log", "/var/log/x.log"):
            self.assertEqual(self.settings(written("logging.file", f"'{name}'")).logging.file, name)
        local = "{models: {providers: {local: {path: '~nobody-of-this-name/x'}}}}"
        self.problem(local, "models.providers.local.path", "which may begin with ~/")

    def test_origins_are_origins(self) -> None:
        key = "gateway.http.endpoints.chatCompletions.allowedOrigins"
        for wrong in (
            "*",
            "https://*.example.com",
            "example.com",
            "https://example.com/path",
            "ftp://x",
            "null",
        ):
            self.problem(written(key, f"['{wrong}']"), f"{key}[0]", "must be one origin")
        for right in (
            *("https://example.com", "http://localhost:3000", "https://example.com/"),
            *("app://obsidian.md", "capacitor://localhost", "chrome-extension://abcdef"),
        ):
            self.settings(written(key, f"['{right}']"))
            control_ui = written("gateway.controlUi.allowedOrigins", f"['{right}']")
            self.assertNotIn("gateway.controlUi.allowedOrigins[0]", self.warnings(control_ui))

    def test_a_star_that_openclaw_takes_is_a_warning(self) -> None:
        warnings = self.warnings(written("gateway.controlUi.allowedOrigins", "['*']"))
        self.assertIn("lets nobody in", warnings["gateway.controlUi.allowedOrigins[0]"])

    def test_the_public_origin_is_https(self) -> None:
        self.problem("{gateway: {publicOrigin: 'http://x.example'}}", "gateway.publicOrigin", "https://")

    def test_allowed_hosts_are_names(self) -> None:
        for wrong in ("*", "https://x", "x:80", ""):
            self.problem(
                written("gateway.http.allowedHosts", f"['{wrong}']"),
                "gateway.http.allowedHosts[0]",
                "host name",
            )
        self.settings("{gateway: {http: {allowedHosts: ['a.example', '[::1]']}}}")

    def test_certificate_and_key_go_together(self) -> None:
        self.problem("{gateway: {tls: {enabled: true, certPath: 'c'}}}", "gateway.tls.keyPath", "go together")
        self.problem("{gateway: {tls: {enabled: true, keyPath: 'k'}}}", "gateway.tls.certPath", "go together")
        self.settings("{gateway: {tls: {enabled: true, certPath: 'c', keyPath: 'k'}}}")

    def test_idle_without_minutes(self) -> None:
        told = self.warnings("{session: {reset: {mode: 'idle'}}}")
        self.assertEqual(told, {"session.reset.mode": '"idle" does nothing without idleMinutes'})

    def test_an_address_is_an_address_alone(self) -> None:
        for wrong in (
            "ftp://x",
            "x.org/v1",
            "https://",
            "https://u:p@x.org/v1",
            "https://x.org/v1?key=1",
            "https://x.org/v1#a",
            "https://x.org/a b",
            "https://x.org/v1\\r\\nx: y",
            "https://x.org\\\\@y.org/",
            "http://x.org:99999/v1",
            "http://x.org:http/v1",
            "http://x.org:/v1",
            "http://x.org:0/v1",
            "http://x..org/v1",
            "http://[::1/v1",
        ):
            for path, text in (
                ("models.providers.p.baseUrl", f"{{baseUrl: '{wrong}'}}"),
                ("models.providers.p.models[0].baseUrl", f"{{models: [{{id: 'm', baseUrl: '{wrong}'}}]}}"),
            ):
                self.problem(written("models.providers.p", text), path, "must ")
        for right in (
            "https://x.org/v1/",
            "http://127.0.0.1:8000",
            "http://[::1]:8000/v1",
            "http://my_vllm:8000/v1",
            "http://h\u00f6.example/v1",
        ):
            self.settings(written("models.providers.p.baseUrl", f"'{right}'"))

    def test_zero_days_are_not_for_ever(self) -> None:
        path = "session.maintenance"
        for zero in ("0", "'0d'"):
            self.problem(written(f"{path}.pruneAfter", zero), f"{path}.pruneAfter", "every session")
        self.settings(written(path, "{pruneAfter: 0, mode: 'warn'}"))
        self.settings(written(path, "{pruneAfter: '1s', resetArchiveRetention: 0}"))

    def test_headers_have_names(self) -> None:
        for name in ("X Title", "X-Title:", "X-T\u00edtulo", ""):
            headers = f"{{headers: {{'{name}': 'x'}}}}"
            for path, text in (
                ("models.providers.p", headers),
                ("models.providers.p.request", f"{{request: {headers}}}"),
                ("models.providers.p.models[0]", f"{{models: [{{id: 'm', headers: {{'{name}': 'x'}}}}]}}"),
            ):
                found = self.problems(written("models.providers.p", text))
                self.assertEqual([where.startswith(f"{path}.headers") for where in found], [True])
        self.settings(written("models.providers.p.headers", "{'X-Title': 'x', 'HTTP-Referer': 'y'}"))

    def test_certificates_of_providers_are_always_verified(self) -> None:
        path = "models.providers.p.request.tls"
        self.problem(written(f"{path}.insecureSkipVerify", "true"), f"{path}.insecureSkipVerify", "tls.ca")
        self.settings(written(f"{path}.insecureSkipVerify", "false"))
        self.problem(written(f"{path}.cert", "'c.pem'"), f"{path}.key", "go together")
        self.problem(written(f"{path}.key", "'k.pem'"), f"{path}.cert", "go together")

    def test_the_proxy_of_a_provider(self) -> None:
        path = "models.providers.p.request.proxy"
        self.problem(written(path, "{mode: 'explicit-proxy'}"), f"{path}.url", "is needed")
        for wrong in ("https://x", "socks5://x", "x:8080", "http://", "http://x/path", "http://u@v@x"):
            text = written(path, f"{{mode: 'explicit-proxy', url: '{wrong}'}}")
            self.problem(text, f"{path}.url", "http://proxy.example.org:8080")
        for right in ("http://x", "http://u:p@x:3128/", "http://[::1]:3128"):
            self.settings(written(path, f"{{mode: 'explicit-proxy', url: '{right}'}}"))
        self.settings(written(path, "{mode: 'env-proxy'}"))
