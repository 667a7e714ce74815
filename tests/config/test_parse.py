"""From text and environment to settings: what is taken over, what is refused, in which words."""

from __future__ import annotations

from openclaw_twisted.config.settings import Secret, Settings
from tests.config.cases import STRONG, ParseCase, written

__all__ = ["EnvironmentTests", "InertTests", "ValueTests"]


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

    def test_a_word_in_place_of_a_number_would_not_be_one_without_quotes(self) -> None:
        word = "must be a whole number, not text"
        self.assertEqual(self.problems("{gateway: {port: 'abc'}}"), {"gateway.port": word})
        self.assertEqual(
            self.problems("{}", {"OPENCLAW_GATEWAY_PORT": "abc"}), {"OPENCLAW_GATEWAY_PORT": word}
        )

    def test_a_whole_number_may_be_written_as_a_fraction(self) -> None:
        self.assertEqual(self.settings("{gateway: {port: 8080.0}}").gateway.port, 8080)
        self.problem("{gateway: {port: 8080.5}}", "gateway.port", "not a fraction")

    def test_true_is_no_number(self) -> None:
        self.problem("{gateway: {port: true}}", "gateway.port", "must be a whole number")

    def test_the_wrong_type_is_named(self) -> None:
        self.problem("{gateway: {bind: 1}}", "gateway.bind", "not a number")
        self.problem("{gateway: {trustedProxies: '10.0.0.1'}}", "gateway.trustedProxies", "list, not text")
        self.problem("{gateway: {publicOrigin: {}}}", "gateway.publicOrigin", "text, not an object")
        self.problem(
            "{gateway: {limits: {tickSeconds: '1'}}}", "gateway.limits.tickSeconds", "without quotes"
        )
        self.problem("{models: {providers: []}}", "models.providers", "object, not a list")
        self.problem(
            "{models: {providers: {a: {models: [{id: ''}]}}}}", "models.providers.a.models[0].id", "empty"
        )

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

    def test_a_secret_from_a_variable_is_plain_text(self) -> None:
        """Codecs refuse any other, and the command line sends it as JSON."""
        environ = {"TOKEN": STRONG}
        for text in (
            "{gateway: {auth: {token: '${TOKEN}'}}}",
            "{gateway: {auth: {token: '$MINE'}}, env: {vars: {MINE: '${TOKEN}'}}}",
            "{env: {vars: {OPENCLAW_GATEWAY_TOKEN: '${TOKEN}'}}}",
        ):
            token = self.settings(text, environ).gateway.auth.token
            assert token is not None
            self.assertEqual((type(token.reveal()), token.reveal()), (str, STRONG), text)

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
        self.problem("{}", "--port", "at most", environ, overrides={"gateway.port": 70000})
        self.problem(
            "{gateway: {auth: {mode: 'none'}}}",
            "gateway.auth.mode",
            "everybody",
            overrides={"gateway.bind": "lan"},
        )

    def test_the_level_of_the_log(self) -> None:
        text = "{logging: {level: 'warn', consoleLevel: 'error'}}"
        read = self.settings(text, {"OPENCLAW_LOG_LEVEL": " Debug"}).logging
        self.assertEqual((read.level, read.console_level), ("debug", "debug"))
        loaded = self.loaded(text, {"OPENCLAW_LOG_LEVEL": "loud"})
        self.assertEqual(loaded.settings.logging.level, "warn")
        self.assertIn(
            "none of silent, fatal", self.warnings(text, {"OPENCLAW_LOG_LEVEL": "loud"})["OPENCLAW_LOG_LEVEL"]
        )

    def test_the_agents_folder(self) -> None:
        environ = {"OPENCLAW_WORKSPACE_DIR": "/w"}
        self.assertEqual(self.settings("{}", environ).agents.defaults.workspace, "/w")
        text = "{agents: {defaults: {workspace: '/mine'}}}"
        self.assertEqual(self.settings(text, environ).agents.defaults.workspace, "/mine")
        self.problem("{agents: {defaults: 3}}", "agents.defaults", "an object", environ)

    def test_a_variable_for_a_wrong_section_leaves_the_section_to_be_named(self) -> None:
        self.assertEqual([*self.problems("{gateway: 1}", {"OPENCLAW_GATEWAY_PORT": "2"})], ["gateway"])
        environ = {"OPENCLAW_GATEWAY_TOKEN": STRONG}
        self.assertEqual([*self.problems("{gateway: {auth: []}}", environ)], ["gateway.auth"])

    def test_a_wrong_variable_is_named(self) -> None:
        for port in ("x", "70000", "1" * 5000):
            self.assertEqual(
                [*self.problems("{}", {"OPENCLAW_GATEWAY_PORT": port})], ["OPENCLAW_GATEWAY_PORT"]
            )


class InertTests(ParseCase):
    """Keys of OpenClaw that have no effect here."""

    def test_sections_and_keys_are_named_once(self) -> None:
        text = "{channels: {}, cron: {}, meta: {}, $schema: 'x', tools: {web: {}}, gateway: {push: {}}}"
        self.assertEqual(
            [warning.message for warning in self.loaded(text).warnings],
            [
                "these sections belong to parts this gateway does not have: channels, cron",
                "accepted, but without effect in this version: gateway.push, tools.web",
            ],
        )

    def test_inert_keys_are_named_where_they_were_written(self) -> None:
        warning = self.loaded("{agents: {list: [{id: 'a', sandbox: {}}]}}").warnings[0]
        self.assertIn("agents.list[0].sandbox", warning.message)
