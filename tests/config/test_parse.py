"""From text and environment to settings: what is taken over, what is refused, in which words."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import Loaded, parse
from openclaw_twisted.config.settings import ModelChoice, Secret, Settings
from openclaw_twisted.errors import ConfigError

DATA = Path(__file__).parent / "data"
STRONG = "6f1d0c9b8a79685746352413f2e1d0cf"


def written(path: str, value: str) -> str:
    """Return a configuration with one value in it, as JSON5 text."""
    for key in reversed(path.split(".")):
        value = f"{{{key}: {value}}}"
    return value


class ParseCase(SynchronousTestCase):
    def loaded(self, text, environ=None, **named) -> Loaded:
        return parse(text, environ or {}, **named)

    def settings(self, text, environ=None, **named) -> Settings:
        return self.loaded(text, environ, **named).settings

    def problems(self, text, environ=None, **named) -> dict[str, str]:
        error = self.assertRaises(ConfigError, parse, text, environ or {}, **named)
        found = {problem.path: problem.message for problem in error.problems}
        self.assertEqual(len(found), len(error.problems), "two problems at one place")
        return found

    def problem(self, text, path, words, environ=None, **named) -> None:
        found = self.problems(text, environ, **named)
        self.assertEqual([*found], [path])
        self.assertIn(words, found[path])

    def warnings(self, text, environ=None) -> dict[str, str]:
        return {warning.path: warning.message for warning in self.loaded(text, environ).warnings}


class ValueTests(ParseCase):
    """Values of every type, right and wrong."""

    def test_nothing_written_gives_the_defaults(self) -> None:
        self.assertEqual(self.settings("{}"), Settings())

    def test_a_written_value_replaces_its_default_alone(self) -> None:
        gateway = self.settings("{gateway: {port: 8080}}").gateway
        self.assertEqual(gateway.port, 8080)
        self.assertEqual(gateway.bind, "loopback")

    def test_every_problem_is_told_with_its_path(self) -> None:
        self.assertEqual(
            [
                *self.problems(
                    """{
                        gateway: { port: 0, http: { endpoints: { chatCompletions: { enabled: "yes" } } } },
                        agents: {
                            defaults: { models: { "a/b": { alias: 1 } } },
                            list: [{ id: "a" }, { id: "b", model: 7 }],
                        },
                        logging: { level: "loud" },
                        session: [],
                    }"""
                )
            ],
            [
                "gateway.port",
                "gateway.http.endpoints.chatCompletions.enabled",
                'agents.defaults.models["a/b"].alias',
                "agents.list[1].model",
                "session",
                "logging.level",
            ],
        )

    def test_a_mistyped_key_names_the_one_that_was_meant(self) -> None:
        self.problem("{gateway: {prot: 1}}", "gateway.prot", 'did you mean "port"?')
        self.problem("{gatway: {}}", "gatway", 'did you mean "gateway"?')
        self.problem(
            "{models: {providers: {a: {base_url: 'http://x'}}}}", "models.providers.a.base_url", '"baseUrl"'
        )

    def test_a_key_like_no_other_is_refused_without_a_guess(self) -> None:
        self.problem("{gateway: {zzzzqqq: 1}}", "gateway.zzzzqqq", "is not a known key")

    def test_a_mistyped_word_names_the_one_that_was_meant(self) -> None:
        self.problem("{gateway: {bind: 'lann'}}", "gateway.bind", 'did you mean "lan"?')

    def test_a_host_name_as_network_names_the_network(self) -> None:
        self.problem("{gateway: {bind: '0.0.0.0'}}", "gateway.bind", 'did you mean "lan"?')
        self.problem("{gateway: {bind: 'localhost'}}", "gateway.bind", 'did you mean "loopback"?')

    def test_a_number_in_quotes_is_refused_and_says_so(self) -> None:
        self.problem("{gateway: {port: '8080'}}", "gateway.port", "without quotes")

    def test_a_whole_number_may_be_written_as_a_fraction(self) -> None:
        self.assertEqual(self.settings("{gateway: {port: 8080.0}}").gateway.port, 8080)
        self.problem("{gateway: {port: 8080.5}}", "gateway.port", "not a fraction")

    def test_true_is_no_number(self) -> None:
        self.problem("{gateway: {port: true}}", "gateway.port", "must be a whole number")

    def test_ranges_hold(self) -> None:
        self.problem("{gateway: {port: 65536}}", "gateway.port", "at most 65535")
        self.problem(
            "{gateway: {limits: {headerDeadlineSeconds: 0}}}",
            "gateway.limits.headerDeadlineSeconds",
            "more than 0",
        )
        self.problem(
            "{gateway: {limits: {bodyIdleSeconds: 1e300}}}", "gateway.limits.bodyIdleSeconds", "large"
        )

    def test_null_is_no_value(self) -> None:
        self.problem("{gateway: {publicOrigin: null}}", "gateway.publicOrigin", "leave the key out")
        self.problem("{gateway: null}", "gateway", "must be an object, not null")

    def test_false_or_text(self) -> None:
        path = "gateway.http.securityHeaders.strictTransportSecurity"
        read = self.settings(written(path, "false")).gateway.http.security_headers
        self.assertFalse(read.strict_transport_security)
        read = self.settings(written(path, "'max-age=1'")).gateway.http.security_headers
        self.assertEqual(read.strict_transport_security, "max-age=1")

    def test_the_file_has_to_be_an_object(self) -> None:
        self.problem("[]", "", "one object")

    def test_durations(self) -> None:
        for text, seconds in (
            ("'24h'", 86400),
            ("'90m'", 5400),
            ("'30d'", 2592000),
            ("'1h30m'", 5400),
            ("'1.5s'", 1.5),
            ("0", 0),
            ("'0'", 0),
        ):
            session = self.settings(written("session.statelessRetention", text)).session
            self.assertEqual(session.stateless_retention_seconds, seconds, text)

    def test_a_duration_without_unit_is_refused_unless_openclaw_has_one(self) -> None:
        self.problem("{session: {statelessRetention: 5}}", "session.statelessRetention", "needs a unit")
        self.problem(
            "{session: {statelessRetention: 'soon'}}", "session.statelessRetention", "not a duration"
        )
        self.problem("{session: {statelessRetention: '-1h'}}", "session.statelessRetention", "not a duration")
        self.problem(
            "{session: {statelessRetention: '%s'}}" % ("9" * 400 + "d"),
            "session.statelessRetention",
            "longer",
        )
        read = self.settings("{session: {maintenance: {pruneAfter: 7}}}").session.maintenance
        self.assertEqual(read.prune_after_seconds, 7 * 86400)

    def test_free_form_parameters_are_taken_as_they_are(self) -> None:
        text = "{agents: {defaults: {params: {temperature: 0.2, stop: ['a', null], deep: {er: '${X}'}}}}}"
        params = self.settings(text, {"X": "y"}).agents.defaults.params
        self.assertEqual(params, {"temperature": 0.2, "stop": ["a", None], "deep": {"er": "y"}})
        self.assertIs(type(params["deep"]["er"]), str)


class ModelChoiceTests(ParseCase):
    """A model as text or object, per agent or for all."""

    def test_text_is_the_primary_model(self) -> None:
        read = self.settings("{agents: {defaults: {model: 'a/b'}}}").agents.defaults
        self.assertEqual(read.model, ModelChoice("a/b"))

    def test_object_with_fallbacks(self) -> None:
        read = self.settings("{agents: {defaults: {model: {primary: 'a/b', fallbacks: ['c/d']}}}}")
        self.assertEqual(read.agents.defaults.model, ModelChoice("a/b", ("c/d",)))

    def test_fallbacks_alone_keep_the_default_primary(self) -> None:
        text = "{agents: {defaults: {model: 'a/b'}, entries: {main: {model: {fallbacks: ['c/d']}}}}}"
        self.assertEqual(self.settings(text).agents.entries["main"].model, ModelChoice("a/b", ("c/d",)))

    def test_fallbacks_alone_without_any_primary_are_refused(self) -> None:
        self.problem(
            "{agents: {entries: {main: {model: {fallbacks: ['c/d']}}}}}",
            "agents.entries.main.model",
            'needs the key "primary"',
        )


class AgentTests(ParseCase):
    """The map and the list of agents become one map."""

    def test_map_and_list_are_read_into_one_map(self) -> None:
        entries = self.settings("{agents: {entries: {a: {}}, list: [{id: 'b'}]}}").agents.entries
        self.assertEqual([(key, agent.id) for key, agent in entries.items()], [("a", "a"), ("b", "b")])

    def test_ids_are_lower_case(self) -> None:
        entries = self.settings("{agents: {entries: {Alpha: {}}, list: [{id: 'BETA'}]}}").agents.entries
        self.assertEqual([*entries], ["alpha", "beta"])

    def test_one_id_in_both_shapes_is_refused(self) -> None:
        self.problem(
            "{agents: {entries: {a: {}}, list: [{id: 'A'}]}}",
            "agents.list[0]",
            'second agent "a"; the first is agents.entries.a',
        )

    def test_an_id_that_contradicts_its_key_is_refused(self) -> None:
        self.problem("{agents: {entries: {a: {id: 'b'}}}}", "agents.entries.a.id", 'must be "a"')

    def test_bad_ids_come_with_a_good_one(self) -> None:
        self.problem("{agents: {entries: {'My Agent!': {}}}}", 'agents.entries["My Agent!"]', '"my-agent"')
        self.problem("{agents: {list: [{id: '../x'}]}}", "agents.list[0]", '"x"')
        self.problem("{agents: {list: [{id: '%s'}]}}" % ("a" * 65), "agents.list[0]", "at most 64")

    def test_an_agent_in_the_list_needs_an_id(self) -> None:
        self.problem("{agents: {list: [{}]}}", "agents.list[0]", '"id"')

    def test_wrong_containers_are_named(self) -> None:
        self.problem("{agents: {list: {}}}", "agents.list", "must be a list")
        self.problem("{agents: {entries: []}}", "agents.entries", "must be an object")
        self.problem("{agents: {entries: {a: 1}}}", "agents.entries.a", "must be an object")

    def test_two_default_agents_are_refused(self) -> None:
        self.problem(
            "{agents: {list: [{id: 'a', default: true}, {id: 'b', default: true}]}}",
            "agents.list[1].default",
            'second default agent beside "a"',
        )


class ProviderTests(ParseCase):
    """Providers, and the name that two things share."""

    def test_local_is_the_model_of_this_machine(self) -> None:
        models = self.settings("{models: {providers: {local: {model: 'x', threads: 2}}}}").models
        self.assertEqual((models.local.model, models.local.threads), ("x", 2))
        self.assertEqual(models.providers, {})

    def test_local_with_an_address_is_an_ordinary_provider(self) -> None:
        models = self.settings("{models: {providers: {local: {baseUrl: 'http://127.0.0.1:8000/v1'}}}}").models
        self.assertEqual(models.providers["local"].base_url, "http://127.0.0.1:8000/v1")
        self.assertEqual(models.local, Settings().models.local)

    def test_problems_of_the_local_model_stand_where_it_was_written(self) -> None:
        self.problem(
            "{models: {providers: {local: {parallel: 0}}}}", "models.providers.local.parallel", "at least 1"
        )
        self.problem("{models: {local: {}}}", "models.local", "models.providers.local")

    def test_an_address_needs_a_scheme(self) -> None:
        self.problem(
            "{models: {providers: {a: {baseUrl: 'localhost:1234'}}}}", "models.providers.a.baseUrl", "http://"
        )


class OlderKeyTests(ParseCase):
    """What earlier releases of OpenClaw called differently."""

    def test_reload_modes(self) -> None:
        for mode in ("hot", "restart"):
            self.assertEqual(
                self.settings(written("gateway.reload.mode", f"'{mode}'")).gateway.reload.mode, "hybrid"
            )

    def test_idle_minutes(self) -> None:
        reset = self.settings("{session: {idleMinutes: 30}}").session.reset
        self.assertEqual((reset.mode, reset.idle_minutes), ("idle", 30))
        self.problem("{session: {idleMinutes: 'x'}}", "session.idleMinutes", "whole number")

    def test_prune_days(self) -> None:
        maintenance = self.settings("{session: {maintenance: {pruneDays: 10}}}").session.maintenance
        self.assertEqual(maintenance.prune_after_seconds, 864000)

    def test_flat_environment_variables(self) -> None:
        loaded = self.loaded("{env: {A: '1', vars: {B: '2', A: '3'}}}")
        self.assertEqual(loaded.settings.env.vars, {"A": Secret("3"), "B": Secret("2")})
        self.assertEqual(dict(loaded.environ), {"A": "3", "B": "2"})


class EnvironmentTests(ParseCase):
    """`${NAME}`, `env.vars`, and the variables that win over the file."""

    def test_names_are_replaced_inside_text(self) -> None:
        text = "{models: {providers: {a: {baseUrl: 'http://${HOST}:${PORT}/v1'}}}}"
        read = self.settings(text, {"HOST": "h", "PORT": "1"}).models.providers["a"]
        self.assertEqual(read.base_url, "http://h:1/v1")
        self.assertIs(type(read.base_url), str)

    def test_a_doubled_dollar_stands_for_itself(self) -> None:
        text = "{agents: {entries: {a: {systemPromptOverride: 'say $${HOME}, ${who} and $HOME'}}}}"
        read = self.settings(text, {"HOME": "/root"}).agents.entries["a"]
        self.assertEqual(read.system_prompt_override, "say ${HOME}, ${who} and $HOME")

    def test_replaced_text_is_not_replaced_again(self) -> None:
        text = "{agents: {entries: {a: {name: '${A}'}}}}"
        self.assertEqual(self.settings(text, {"A": "${B}", "B": "x"}).agents.entries["a"].name, "${B}")

    def test_a_missing_name_is_warned_about_and_its_secret_unavailable(self) -> None:
        for environ in ({}, {"KEY": ""}):
            loaded = self.loaded(
                "{models: {providers: {a: {apiKey: '${KEY}', headers: {X: 'b ${KEY}'}}}}}", environ
            )
            self.assertEqual(
                [warning.path for warning in loaded.warnings],
                ["models.providers.a.apiKey", "models.providers.a.headers.X"],
            )
            self.assertIsNone(loaded.settings.models.providers["a"].api_key)
            self.assertEqual(loaded.settings.models.providers["a"].headers, {})

    def test_a_warning_stands_where_the_value_was_written(self) -> None:
        self.assertEqual(
            [*self.warnings("{agents: {list: [{id: 'a', name: '${NO}'}]}}")], ["agents.list[0].name"]
        )

    def test_the_files_variables_fill_in_what_is_missing(self) -> None:
        variables = "env: {vars: {A: 'file', B: 'file', C: 'from ${A}'}}"
        text = f"{{{variables}, agents: {{entries: {{a: {{name: '${{A}} ${{B}} ${{C}}'}}}}}}}}"
        loaded = self.loaded(text, {"A": "process", "B": ""})
        self.assertEqual(loaded.settings.agents.entries["a"].name, "process file from process")
        self.assertEqual(dict(loaded.environ), {"A": "process", "B": "file", "C": "from process"})

    def test_environment_wins_over_the_file(self) -> None:
        text = f"{{gateway: {{port: 1, auth: {{token: '{STRONG}'}}}}}}"
        environ = {"OPENCLAW_GATEWAY_PORT": "2", "OPENCLAW_GATEWAY_TOKEN": STRONG[::-1]}
        gateway = self.settings(text, environ).gateway
        self.assertEqual((gateway.port, gateway.auth.token), (2, Secret(STRONG[::-1])))

    def test_overrides_win_over_the_environment_and_are_checked(self) -> None:
        environ = {"OPENCLAW_GATEWAY_PORT": "2"}
        self.assertEqual(self.settings("{}", environ, overrides={"gateway.port": 3}).gateway.port, 3)
        self.problem("{}", "gateway.port", "at most", environ, overrides={"gateway.port": 70000})
        self.problem(
            "{gateway: {auth: {mode: 'none'}}}",
            "gateway.auth.mode",
            "everybody",
            overrides={"gateway.bind": "lan"},
        )

    def test_a_wrong_variable_is_named(self) -> None:
        for port in ("x", "70000", "1" * 5000):
            self.assertEqual(
                [*self.problems("{}", {"OPENCLAW_GATEWAY_PORT": port})], ["OPENCLAW_GATEWAY_PORT"]
            )


class InertTests(ParseCase):
    """Keys of OpenClaw that have no effect here."""

    def test_sections_and_keys_are_named_once(self) -> None:
        text = "{channels: {}, cron: {}, meta: {}, $schema: 'x', tools: {web: {}}, gateway: {roles: {}}}"
        self.assertEqual(
            [warning.message for warning in self.loaded(text).warnings],
            [
                "these sections belong to parts this gateway does not have: channels, cron",
                "these keys have no effect here yet: gateway.roles, tools.web",
            ],
        )

    def test_inert_keys_are_named_where_they_were_written(self) -> None:
        warning = self.loaded("{agents: {list: [{id: 'a', sandbox: {}}]}}").warnings[0]
        self.assertIn("agents.list[0].sandbox", warning.message)


class RealFileTests(ParseCase):
    """Files as OpenClaw's users have them start this gateway."""

    def test_the_list_shape_of_spring_2026(self) -> None:
        text = (DATA / "openclaw-2026.3.json5").read_text(encoding="utf-8")
        loaded = self.loaded(text, {"TELEGRAM_BOT_TOKEN": "t"})
        read = loaded.settings
        self.assertEqual([*read.agents.entries], ["main", "work", "notes"])
        self.assertTrue(read.agents.entries["main"].default)
        self.assertEqual(
            read.agents.entries["notes"].model,
            ModelChoice("anthropic/claude-sonnet-4-5", ("lmstudio/qwen3-8b",)),
        )
        self.assertEqual(read.models.providers["local"].base_url, "http://127.0.0.1:8000/v1")
        self.assertEqual(read.models.providers["openrouter"].api_key, Secret("sk-or-v1-household"))
        self.assertEqual(read.models.providers["lmstudio"].models[0].compat.max_tokens_field, "max_tokens")
        self.assertEqual(read.gateway.http.endpoints.chat_completions.max_body_bytes, 20_000_000)
        self.assertEqual(read.session.reset.mode, "daily")
        self.assertEqual(read.gateway.reload.mode, "hybrid")
        self.assertEqual(len(loaded.warnings), 2, [str(warning) for warning in loaded.warnings])

    def test_the_map_shape_of_autumn_2026(self) -> None:
        text = (DATA / "openclaw-2026.9.json").read_text(encoding="utf-8")
        # the API key lies in a secrets file, which only `load` can read
        loaded = self.loaded(text, {"TEAM_GATEWAY_TOKEN": STRONG, "TEAM_ROUTE": "north"})
        read = loaded.settings
        self.assertEqual(read.gateway.auth.token, Secret(STRONG))
        self.assertEqual(read.gateway.auth.rate_limit.lockout_ms, 600_000)
        self.assertEqual(read.models.providers["team"].base_url, "https://models.example.org/v1")
        self.assertEqual(read.models.providers["team"].headers["X-Route"], Secret("north"))
        self.assertEqual(read.models.providers["team"].models[0].cost.output, 10)
        self.assertEqual(read.agents.defaults.thinking_default, "ultra")
        self.assertEqual(read.agents.entries["ops"].context_injection, "never")
        self.assertEqual(read.session.maintenance.prune_after_seconds, 45 * 86400)
        self.assertEqual(read.tools.also_allow, ("group:memory",))
        self.assertIn("models.providers.team.apiKey", [warning.path for warning in loaded.warnings])

    def test_the_quickstart_holds_no_surprises(self) -> None:
        text = (Path(__file__).parents[2] / "examples" / "quickstart.json5").read_text(encoding="utf-8")
        loaded = self.loaded(text)
        self.assertEqual(loaded.warnings, ())
        self.assertTrue(loaded.settings.gateway.http.endpoints.chat_completions.enabled)
        self.assertEqual(loaded.settings.agents.defaults.model, ModelChoice("local/qwen2.5-coder-0.5b"))
        self.assertEqual(loaded.settings.models.local, Settings().models.local)


KEYS = strategies.sampled_from(
    [
        *("gateway", "agents", "models", "env", "session", "secrets", "$include", "x y", ""),
        *("auth", "token", "port", "reload", "mode", "trustedProxies"),
        *("defaults", "entries", "list", "id", "model", "primary", "params"),
        *("providers", "local", "baseUrl", "apiKey", "headers", "source", "provider"),
        *("vars", "maintenance", "pruneDays", "idleMinutes"),
    ]
)
LEAVES = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.sampled_from(["${A}", "$A", "$${A}", "lan", "none", "env", "24h", "http://x"])
    | strategies.text(max_size=8)
)
TREES = strategies.recursive(
    LEAVES,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(KEYS, inner, max_size=4),
)


class ArbitraryInputTests(SynchronousTestCase):
    """Whatever the text is, there are settings or a `ConfigError`."""

    def check(self, text: str) -> None:
        try:
            loaded = parse(text, {"A": "a"})
        except ConfigError as error:
            self.assertTrue(error.problems)
        else:
            self.assertIsInstance(loaded.settings, Settings)

    @settings(max_examples=150, deadline=None)
    @given(strategies.text(alphabet="{}[]:,'\"\\/*\n ab$1.-eN_", max_size=30))
    def test_text(self, text: str) -> None:
        self.check(text)

    @settings(max_examples=300, deadline=None)
    @given(strategies.dictionaries(KEYS, TREES, max_size=5))
    def test_values_in_the_wrong_places(self, tree: object) -> None:
        self.check(json.dumps(tree))

    def test_bombs(self) -> None:
        for text in (
            "[" * 100_000,
            '{"a":' * 20_000,
            "{a:" * 1_000,
            '{"a":' + "1" * 5_000 + "}",
            "\ufeff",
            "\x00",
        ):
            self.assertRaises(ConfigError, parse, text, {})
