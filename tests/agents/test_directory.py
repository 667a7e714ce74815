from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.agents.directory import Directory, shown
from openclaw_twisted.config.settings import (
    AgentDefaults,
    AgentSettings,
    AgentsSettings,
    IdentitySettings,
    ModelChoice,
    ModelEntry,
    ModelPolicy,
)
from openclaw_twisted.errors import AgentNotFoundError

STATE, HOME = Path("/state"), Path("/home/ada")


def directory(*agents: AgentSettings, defaults: AgentDefaults | None = None) -> Directory:
    settings = AgentsSettings(
        defaults=defaults or AgentDefaults(), entries={agent.id: agent for agent in agents}
    )
    return Directory(settings, state_dir=STATE, home=HOME)


def plain(*ids: str) -> Directory:
    return directory(*(AgentSettings(id=agent_id) for agent_id in ids))


class DefaultTests(SynchronousTestCase):
    def test_without_any_agent_there_is_one_called_main(self):
        self.assertEqual((plain().ids, plain().default.id), (("main",), "main"))

    def test_the_flag_then_main_then_the_only_then_the_first(self):
        flagged = AgentSettings(id="coder", default=True)
        self.assertEqual(directory(AgentSettings(id="main"), flagged).default.id, "coder")
        self.assertEqual(plain("coder", "main").default.id, "main")
        self.assertEqual(plain("coder").default.id, "coder")
        self.assertEqual(plain("writer", "coder").default.id, "writer")

    def test_of_two_flags_the_first_counts(self):
        both = directory(AgentSettings(id="b", default=True), AgentSettings(id="a", default=True))
        self.assertEqual(both.default.id, "b")


class LookUpTests(SynchronousTestCase):
    def test_ids_are_free_in_case(self):
        agents = plain("Coder")
        self.assertEqual(agents.ids, ("coder",))
        for text in ("coder", "CODER", " Coder "):
            self.assertIs(agents.get(text), agents.default)
            self.assertIs(agents.named(text), agents.default)

    def test_an_unknown_agent_is_named_with_the_known_ones(self):
        agents = plain("main", "coder")
        self.assertIsNone(agents.get("nobody"))
        error = self.assertRaises(AgentNotFoundError, agents.named, "nobody", param="model")
        self.assertEqual(error.message, 'There is no agent "nobody". The agents are: main, coder.')
        self.assertEqual((error.param, error.code), ("model", "model_not_found"))

    def test_twenty_are_listed(self):
        agents = plain(*(f"a{number:02}" for number in range(23)))
        error = self.assertRaises(AgentNotFoundError, agents.named, "x")
        self.assertTrue(error.message.endswith("a18, a19 and 3 more."))

    def test_a_callers_text_is_shown_short_and_on_one_line(self):
        self.assertEqual(shown("a\nb\x1b"), "a?b?")
        self.assertEqual(len(shown("x" * 10_000)), 83)


class InheritanceTests(SynchronousTestCase):
    common = AgentDefaults(
        model=ModelChoice("local/small", ("local/smaller",)),
        models={"local/small": ModelEntry(alias="Tiny", params={"top_p": 0.5, "temperature": 0.3})},
        model_policy=ModelPolicy(allow=("local/*",)),
        params={"temperature": 0.1, "seed": 1},
        system_prompt_override="Common.",
        context_injection="never",
        bootstrap_max_chars=100,
        bootstrap_total_max_chars=200,
    )

    def test_everything_comes_from_the_defaults(self):
        agent = directory(AgentSettings(id="a"), defaults=self.common).default
        self.assertEqual((agent.model, agent.model_policy), (self.common.model, self.common.model_policy))
        self.assertEqual(agent.name, "a")
        prompt = agent.prompt
        self.assertEqual((prompt.override, prompt.context_injection), ("Common.", "never"))
        self.assertEqual((prompt.max_chars_per_file, prompt.max_chars, prompt.persona), (100, 200, None))

    def test_the_agents_own_settings_win(self):
        own = AgentSettings(
            id="a",
            name="Ada",
            identity=IdentitySettings(name="Countess", theme="dry"),
            model=ModelChoice("big/model"),
            model_policy=ModelPolicy(),
            system_prompt_override="Own.",
            context_injection="always",
            bootstrap_max_chars=1,
            bootstrap_total_max_chars=2,
        )
        agent = directory(own, defaults=self.common).default
        self.assertEqual((agent.model, agent.model_policy.allow), (ModelChoice("big/model"), ()))
        self.assertEqual(agent.name, "Countess")
        prompt = agent.prompt
        self.assertEqual((prompt.override, prompt.context_injection), ("Own.", "always"))
        self.assertEqual((prompt.persona, prompt.theme), ("Countess", "dry"))
        self.assertEqual((prompt.max_chars_per_file, prompt.max_chars), (1, 2))

    def test_parameters_are_everyones_then_the_models_then_the_agents(self):
        agent = directory(AgentSettings(id="a", params={"seed": 7}), defaults=self.common).default
        self.assertEqual(agent.params_for("local/small"), {"temperature": 0.3, "seed": 7, "top_p": 0.5})
        self.assertEqual(agent.params_for("other"), {"temperature": 0.1, "seed": 7})

    def test_how_hard_to_think(self):
        common = AgentDefaults(
            thinking_default="low",
            params={"seed": 1},
            models={"p/m": ModelEntry(params={"thinking": "high"}), "p/n": ModelEntry()},
        )
        agents = directory(
            AgentSettings(id="a"), AgentSettings(id="b", thinking_default="off"), defaults=common
        )
        told = {
            (agent_id, model): agents.named(agent_id).params_for(model)["thinking"]
            for agent_id in agents.ids
            for model in ("p/m", "p/n")
        }
        self.assertEqual(
            told,
            {("a", "p/m"): "high", ("a", "p/n"): "low", ("b", "p/m"): "off", ("b", "p/n"): "off"},
        )

    def test_aliases(self):
        agent = directory(defaults=self.common).default
        self.assertEqual(agent.model_named("tiny"), "local/small")
        self.assertEqual(agent.model_named("other/Model"), "other/Model")


class WorkspaceTests(SynchronousTestCase):
    def folders(self, agents: Directory) -> dict[str, list[str]]:
        return {
            agent_id: [str(path) for path in agents.named(agent_id).prompt.workspaces]
            for agent_id in agents.ids
        }

    def test_a_sole_agent_has_the_common_one(self):
        self.assertEqual(self.folders(plain("a")), {"a": ["/state/workspace"]})
        common = directory(AgentSettings(id="a"), defaults=AgentDefaults(workspace="~/ws"))
        self.assertEqual(self.folders(common), {"a": ["/home/ada/ws"]})

    def test_several_have_one_each_and_those_of_before_are_found(self):
        self.assertEqual(
            self.folders(plain("main", "b")),
            {"main": ["/state/workspace-main", "/state/workspace"], "b": ["/state/workspace-b"]},
        )
        agents = directory(
            AgentSettings(id="main"), AgentSettings(id="b"), defaults=AgentDefaults(workspace="/ws")
        )
        self.assertEqual(
            self.folders(agents), {"main": ["/ws/main", "/ws"], "b": ["/ws/b", "/state/workspace-b"]}
        )

    def test_an_agents_own_one_is_the_only_one(self):
        agents = directory(AgentSettings(id="main", workspace="~"), AgentSettings(id="b", workspace="/b"))
        self.assertEqual(self.folders(agents), {"main": ["/home/ada"], "b": ["/b"]})
