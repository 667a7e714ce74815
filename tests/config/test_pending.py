"""What the configuration promises and what the gateway does: nobody may set a key and believe in vain."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.pending import LABEL, PENDING, is_idle
from openclaw_twisted.config.settings import (
    AuthSettings,
    EnvSettings,
    GatewaySettings,
    LimitsSettings,
    ModelPolicy,
    ProviderTlsSettings,
    ReloadSettings,
    SecretProviderSettings,
    SecretsSettings,
    Settings,
    TlsSettings,
)
from tests.config.cases import STRONG, ParseCase, written
from tests.config.production import FIELDS, KEYS, Field, fields_in, reads

__all__ = ["DangerTests", "HonestyTests", "SearchTests", "WarningTests"]

HEADING = "accepted, but without effect in this version: "

READ_WHILE_LOADING: set[Field] = {
    (EnvSettings, "vars"),
    (SecretsSettings, "defaults"),
    (ProviderTlsSettings, "insecure_skip_verify"),
    *((SecretProviderSettings, name) for name in SecretProviderSettings.__struct_fields__),
}
"""What the loader itself acts on: variables fill in the environment, secrets are looked up, TLS is kept."""


class HonestyTests(SynchronousTestCase):
    """Every field is read by production code or marked as pending, and none is both."""

    def test_every_key_is_acted_on_or_marked(self) -> None:
        read = reads()
        silent = [
            f"{key.owner.__name__}.{key.field.name}"
            for key in KEYS
            if key.inner is None
            and not key.pending
            and (key.owner, key.field.name) not in READ_WHILE_LOADING
            and (key.owner, key.field.name) not in read
        ]
        self.assertEqual(
            silent, [], "nothing outside config/ reads these: act on them or add them to PENDING"
        )

    def test_no_mark_is_left_behind(self) -> None:
        read = reads(certain=True)
        stale = {
            f"{key.owner.__name__}.{key.field.name}": sorted(read[key.owner, key.field.name])
            for key in KEYS
            if key.field.encode_name in PENDING.get(key.owner, {}) and (key.owner, key.field.name) in read
        }
        self.assertEqual(
            stale, {}, "these are read by now: take them out of PENDING, and the mark off the page"
        )

    def test_only_keys_that_there_are_are_marked(self) -> None:
        known = {(key.owner, key.field.encode_name) for key in KEYS}
        marked = {(struct, key) for struct, listed in PENDING.items() for key in listed}
        self.assertEqual(marked - known, set())


class SearchTests(SynchronousTestCase):
    """The search finds what is read, and not what only has the same name."""

    def fields(self, code: str, *, certain: bool = False) -> set[Field]:
        return {found.field for found in fields_in(ast.parse(code)) if found.certain or not certain}

    def test_the_word_before_the_dot_tells_the_struct(self) -> None:
        code = "from openclaw_twisted.config.settings import GatewaySettings\n"
        self.assertEqual(self.fields(f"{code}self._tls.enabled"), {(TlsSettings, "enabled")})
        self.assertEqual(
            self.fields(f"{code}def f(x: GatewaySettings): x.reload.mode"),
            {(GatewaySettings, "reload"), (ReloadSettings, "mode")},
        )

    def test_without_one_it_may_be_any_that_the_module_imports(self) -> None:
        code = "from openclaw_twisted.config.settings import LimitsSettings\n"
        self.assertEqual(self.fields(f"{code}given.tick_seconds"), {(LimitsSettings, "tick_seconds")})
        self.assertEqual(self.fields(f"{code}given().tick_seconds"), {(LimitsSettings, "tick_seconds")})
        self.assertEqual(self.fields(f"{code}given.api_key"), set())
        self.assertEqual(self.fields("given.tick_seconds"), set())

    def test_two_of_one_name_are_told_apart_by_the_word_only(self) -> None:
        code = "from openclaw_twisted.config.settings import GatewaySettings\n"
        self.assertIn((ReloadSettings, "mode"), self.fields(f"{code}gate.mode"))
        self.assertEqual(self.fields(f"{code}gate.mode", certain=True), set())
        self.assertEqual(self.fields(f"{code}auth.mode", certain=True), {(AuthSettings, "mode")})

    def test_a_word_of_several_parts_needs_no_import(self) -> None:
        allow = {(ModelPolicy, "allow")}
        self.assertEqual(self.fields("agent.model_policy.allow", certain=True), allow)

    def test_a_common_word_without_an_import_may_be_meant(self) -> None:
        code = "self.limits.tick_seconds"
        self.assertEqual(self.fields(code), {(LimitsSettings, "tick_seconds")})
        self.assertEqual(self.fields(code, certain=True), set())

    def test_a_loaded_file_has_everything(self) -> None:
        code = "from openclaw_twisted.config.parse import Loaded\nloaded.settings.gateway.tls"
        self.assertEqual(self.fields(code), {(Settings, "gateway"), (GatewaySettings, "tls")})

    def test_a_field_that_nothing_reads_is_found(self) -> None:
        package = Path(self.mktemp())
        for folder in ("config", "testing"):
            (package / folder).mkdir(parents=True)
        code = "from openclaw_twisted.config.settings import AuthSettings\ndef f(auth): return auth.{}"
        (package / "gate.py").write_text(code.format("token"))
        (package / "testing" / "door.py").write_text(code.format("password"))
        (package / "config" / "rules.py").write_text(code.format("mode"))
        self.assertEqual(reads(package), {(AuthSettings, "token"): {"gate.py"}})
        self.assertIn((AuthSettings, "mode"), FIELDS)


class WarningTests(ParseCase):
    """A file that asks for what does not happen is told, once."""

    def idle(self, text: str) -> str:
        """Return the keys that the one warning names."""
        (warning,) = (each for each in self.loaded(text).warnings if each.message.startswith(HEADING))
        return warning.message.removeprefix(HEADING)

    def test_all_keys_are_named_in_one_warning(self) -> None:
        text = """{
            gateway: {reload: {mode: 'hybrid'}, tls: {caPath: 'x'}, limits: {tickSeconds: 9}, push: {}},
            agents: {list: [{id: 'a', thinkingDefault: 'high', sandbox: {}}]},
            logging: {level: 'debug', redactPatterns: []},
        }"""
        self.assertEqual(
            self.idle(text),
            "gateway.push, gateway.tls.caPath, agents.list[0].sandbox, logging.redactPatterns",
        )

    def test_what_holds_anyway_is_not_spoken_of(self) -> None:
        text = """{
            gateway: {
                reload: {mode: 'off'}, controlUi: {enabled: false}, roles: {},
                http: {endpoints: {responses: {enabled: false}}},
            },
            agents: {defaults: {skipBootstrap: true}},
            session: {resetTriggers: []}, tools: {},
        }"""
        self.assertEqual(self.warnings(text), {})

    def test_words_for_people_are_not_spoken_of(self) -> None:
        text = """{
            agents: {entries: {a: {description: 'd', identity: {emoji: 'e', avatar: 'a.png'}}}},
            models: {providers: {p: {models: [{id: 'm', name: 'M'}]}}},
        }"""
        self.assertEqual(self.warnings(text), {})

    def test_keys_of_one_kind_are_told_as_one(self) -> None:
        models = ", ".join(f"{{id: 'm{index}', cost: {{input: 1}}}}" for index in range(3))
        entries = ", ".join(f"'p/m{index}': {{streaming: false}}" for index in range(3))
        text = f"""{{
            agents: {{defaults: {{models: {{{entries}}}}}}},
            models: {{providers: {{p: {{models: [{models}]}}}}}},
        }}"""
        self.assertEqual(
            self.idle(text),
            'agents.defaults.models["p/m0"].streaming (and 2 like it), '
            "models.providers.p.models[0].cost (and 2 like it)",
        )

    def test_a_section_stands_for_what_is_in_it(self) -> None:
        self.assertEqual(self.idle("{tools: {web: {}, deny: ['exec']}}"), "tools")
        self.assertEqual(self.idle("{tools: {web: {}}}"), "tools.web")

    def test_every_mark_that_is_no_label_is_told(self) -> None:
        for struct, listed in PENDING.items():
            for key, holds in listed.items():
                self.assertEqual(is_idle(struct, key, "something else"), holds is not LABEL, (struct, key))


class DangerTests(ParseCase):
    """Where going on without a key's effect would be dangerous, the start is refused."""

    def test_sessions_are_not_kept_elsewhere(self) -> None:
        for url in ("postgresql://u:secret@h/d", "sqlite:///srv/sessions.db", "mysql://h"):
            self.problem(written("storage.url", f"'{url}'"), "storage.url", "OPENCLAW_STATE_DIR")
            self.assertNotIn("secret@", str(self.problems(written("storage.url", f"'{url}'"))))

    def test_users_are_not_given_more_than_they_may(self) -> None:
        proxied = """{gateway: {
            trustedProxies: ['10.0.0.0/8'], %s
            auth: {mode: 'trusted-proxy', trustedProxy: {userHeader: 'x-user'}, %s},
        }}"""
        scopes, roles = "identityScopes: {ada: ['operator.read']}", "roles: {default: 'guest'},"
        self.problem(proxied % ("", scopes), "gateway.auth.identityScopes", "may do everything")
        self.problem(proxied % (roles, ""), "gateway.roles", "may do everything")
        self.settings(proxied % ("roles: {},", "identityScopes: {}"))

    def test_limits_on_users_that_nobody_has_are_only_named(self) -> None:
        auth = f"{{token: '{STRONG}', identityScopes: {{a: []}}}}"
        text = f"{{gateway: {{roles: {{default: 'a'}}, auth: {auth}}}}}"
        self.assertEqual(self.warnings(text), {"": f"{HEADING}gateway.auth.identityScopes, gateway.roles"})

    def test_nothing_passes_the_proxy_by(self) -> None:
        environ = {"OPENCLAW_PROXY_URL": "http://h"}
        for endpoint in ("chatCompletions", "responses"):
            images = f"gateway: {{http: {{endpoints: {{{endpoint}: {{images: {{allowUrl: true}}}}}}}}}}"
            proxy = "proxy: {proxyUrl: 'http://u:p@h'}"
            self.problem(f"{{{images}, {proxy}}}", "proxy.proxyUrl", "fetched past it")
            self.problem(f"{{{images}}}", "OPENCLAW_PROXY_URL", "fetched past it", environ)
            self.settings(f"{{{images}, proxy: {{enabled: false}}}}", environ)
        self.settings("{proxy: {proxyUrl: 'http://h', loopbackMode: 'proxy'}}")
        self.problem("{proxy: {proxyUrl: 'socks5://h'}}", "proxy.proxyUrl", "http://proxy.example.org:8080")
        self.assertEqual([*self.problems("{proxy: 1}", environ)], ["proxy"])

    def test_no_certificate_is_made(self) -> None:
        for more in ("", ", autoGenerate: true", ", autoGenerate: false"):
            self.problem(
                f"{{gateway: {{tls: {{enabled: true{more}}}}}}}", "gateway.tls.certPath", "no certificate"
            )
