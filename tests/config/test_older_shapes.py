"""The ways to write the same: agents, models, and what earlier releases called differently."""

from __future__ import annotations

from pathlib import Path

from openclaw_twisted.agents.directory import Directory
from openclaw_twisted.config.findings import at
from openclaw_twisted.config.settings import ModelChoice, Secret, Settings
from tests.config.cases import ParseCase, written

__all__ = ["AgentTests", "ModelChoiceTests", "OlderKeyTests", "ProviderTests"]


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

    def test_without_any_primary_the_first_fallback_is_it(self) -> None:
        """OpenClaw's schema has both keys optional."""
        model = "model: {fallbacks: ['c/d', 'e/f']}"
        read = self.settings(f"{{agents: {{entries: {{main: {{{model}}}}}}}}}").agents
        self.assertEqual(read.entries["main"].model, ModelChoice("c/d", ("e/f",)))
        read = self.settings(f"{{agents: {{defaults: {{{model}}}, list: [{{id: 'a', {model}}}]}}}}").agents
        self.assertEqual(read.defaults.model, ModelChoice("c/d", ("e/f",)))
        self.assertEqual(read.entries["a"].model, ModelChoice("c/d", ("c/d", "e/f")))

    def test_an_empty_one_is_none(self) -> None:
        read = self.settings("{agents: {defaults: {model: {}}, list: [{id: 'a', model: {}}]}}").agents
        self.assertEqual((read.defaults.model, read.entries["a"].model), (None, None))

    def test_another_key_is_refused_as_ever(self) -> None:
        self.assertEqual(
            [*self.problems("{agents: {defaults: {model: {primry: 'c/d'}}}}")],
            ["agents.defaults.model.primry", "agents.defaults.model"],
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

    def test_ids_are_made_fit_as_openclaw_does(self) -> None:
        for given, read in {"My Agent!": "my-agent", "../x": "x", "a" * 65: "a" * 64, "-a-": "a"}.items():
            for text, path in (
                (f"{{agents: {{list: [{{id: '{given}'}}]}}}}", "agents.list[0]"),
                (f"{{agents: {{entries: {{'{given}': {{}}}}}}}}", at("agents.entries", given)),
            ):
                self.assertEqual([*self.settings(text).agents.entries], [read])
                self.assertIn(f'read as "{read}"', self.warnings(text)[path])

    def test_an_id_without_anything_fit_is_refused(self) -> None:
        for given in ("", " ", "..", "\u5c0f\u52a9\u624b"):
            self.problem(f"{{agents: {{list: [{{id: '{given}'}}]}}}}", "agents.list[0]", "letters")

    def test_an_agent_in_the_list_needs_an_id(self) -> None:
        self.problem("{agents: {list: [{}]}}", "agents.list[0]", '"id"')

    def test_wrong_containers_are_named(self) -> None:
        self.problem("{agents: {list: {}}}", "agents.list", "must be a list")
        self.problem("{agents: {entries: []}}", "agents.entries", "must be an object")
        self.problem("{agents: {entries: {a: 1}}}", "agents.entries.a", "must be an object")

    def test_the_first_of_two_default_agents_is_it(self) -> None:
        text = "{agents: {list: [{id: 'a', default: true}, {id: 'b', default: true}]}}"
        directory = Directory(self.settings(text).agents, state_dir=Path(), home=Path())
        self.assertEqual(directory.default.id, "a")
        self.assertEqual(
            self.warnings(text), {"agents.list[1].default": 'has no effect: the default agent is "a"'}
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
        self.problem(written("gateway.reload.mode", "['hot']"), "gateway.reload.mode", "not a list")

    def test_idle_minutes(self) -> None:
        reset = self.settings("{session: {idleMinutes: 30}}").session.reset
        self.assertEqual((reset.mode, reset.idle_minutes), ("idle", 30))
        self.problem("{session: {idleMinutes: 'x'}}", "session.idleMinutes", "whole number")

    def test_a_reset_without_a_mode(self) -> None:
        for keys, mode in {
            "idleMinutes: 5": "idle",
            "atHour: 5": "daily",
            "atHour: 5, idleMinutes: 5": "daily",
            "": "none",
        }.items():
            self.assertEqual(self.settings(f"{{session: {{reset: {{{keys}}}}}}}").session.reset.mode, mode)

    def test_prune_days(self) -> None:
        maintenance = self.settings("{session: {maintenance: {pruneDays: 10}}}").session.maintenance
        self.assertEqual(maintenance.prune_after_seconds, 864000)

    def test_flat_environment_variables(self) -> None:
        loaded = self.loaded("{env: {A: '1', vars: {B: '2', A: '3'}}}")
        self.assertEqual(loaded.settings.env.vars, {"A": Secret("3"), "B": Secret("2")})
        self.assertEqual(dict(loaded.environ), {"A": "3", "B": "2"})
