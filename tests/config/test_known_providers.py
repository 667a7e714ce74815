"""Providers that a file names without saying where they are."""

from __future__ import annotations

from pathlib import Path

from openclaw_twisted.config.known_providers import KNOWN
from openclaw_twisted.config.settings import ProviderSettings, Secret
from tests.config.cases import ParseCase

__all__ = ["KeyTests", "OtherApiTests", "SilentModelTests", "SupplyTests", "ThinkingTests"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "config.md"

CLAUDE = "{agents: {defaults: {model: 'anthropic/claude-sonnet-5'}}}"
KEY = {"ANTHROPIC_API_KEY": "sk-ant"}


def providers(
    case: ParseCase, text: str, environ: dict[str, str] | None = None
) -> dict[str, ProviderSettings]:
    return dict(case.settings(text, environ).models.providers)


class SupplyTests(ParseCase):
    """A model's name and a key in the environment are enough."""

    def test_a_model_and_a_key(self) -> None:
        expected = ProviderSettings(
            base_url="https://api.anthropic.com", api="anthropic-messages", api_key=Secret("sk-ant")
        )
        self.assertEqual(providers(self, CLAUDE, KEY), {"anthropic": expected})
        self.assertEqual(self.warnings(CLAUDE, KEY), {})

    def test_wherever_an_agent_names_it(self) -> None:
        for agents in (
            "{defaults: {model: {primary: 'x/y', fallbacks: ['anthropic/c']}}}",
            "{defaults: {models: {'anthropic/c': {alias: 'c'}}}}",
            "{list: [{id: 'a', model: 'anthropic/c'}]}",
            "{entries: {a: {models: {'anthropic/c': {}}}}}",
        ):
            self.assertEqual([*providers(self, f"{{agents: {agents}}}", KEY)], ["anthropic"], agents)

    def test_for_embeddings(self) -> None:
        text = "{models: {embedding: 'openai/text-embedding-3-small'}}"
        self.assertEqual([*providers(self, text, {"OPENAI_API_KEY": "sk"})], ["openai"])

    def test_the_files_own_variables_count(self) -> None:
        text = CLAUDE[:-1] + ", env: {vars: {ANTHROPIC_API_KEY: 'sk-file'}}}"
        self.assertEqual(providers(self, text)["anthropic"].api_key, Secret("sk-file"))

    def test_nothing_that_is_not_named(self) -> None:
        self.assertEqual(
            providers(self, "{}", {name: "k" for each in KNOWN.values() for name in each.variables}), {}
        )
        self.assertEqual(providers(self, CLAUDE, {"OPENAI_API_KEY": "sk", "ANTHROPIC_API_KEY": " "}), {})

    def test_replace_offers_what_is_listed_alone(self) -> None:
        text = CLAUDE[:-1] + ", models: {mode: 'replace'}}"
        self.assertEqual(providers(self, text, KEY), {})
        self.assertIn(
            "there is no models.providers.anthropic", self.warnings(text, KEY)["agents.defaults.model"]
        )

    def test_one_that_needs_no_key(self) -> None:
        read = providers(self, "{agents: {defaults: {model: 'ollama/qwen3:8b'}}}")
        self.assertEqual(read, {"ollama": ProviderSettings(base_url="http://127.0.0.1:11434/v1")})

    def test_what_the_file_says_stays(self) -> None:
        text = "{models: {providers: {anthropic: {timeoutSeconds: 9, models: [{id: 'm', maxTokens: 5}]}}}}"
        read = providers(self, text, KEY)["anthropic"]
        self.assertEqual((read.base_url, read.api), ("https://api.anthropic.com", "anthropic-messages"))
        self.assertEqual((read.timeout_seconds, read.models[0].max_tokens), (9.0, 5))
        text = "{models: {providers: {google: {baseUrl: 'https://g.test/v1', api: 'anthropic-messages'}}}}"
        read = providers(self, text)["google"]
        self.assertEqual((read.base_url, read.api), ("https://g.test/v1", "anthropic-messages"))

    def test_models_with_addresses_of_their_own_make_none_for_the_others(self) -> None:
        text = "{models: {providers: {openai: {models: [{id: 'm', baseUrl: 'http://h/v1'}]}}}}"
        self.assertIsNone(providers(self, text)["openai"].base_url)

    def test_the_page_has_them_all(self) -> None:
        page = PAGE.read_text(encoding="utf-8")
        for name, known in KNOWN.items():
            variables = ", ".join(f"`{variable}`" for variable in known.variables) or "none"
            places = ", ".join(f"`{place}`" for place in (known.base_url, known.also) if place)
            self.assertIn(f"| `{name}` | {variables} | {places} |\n", page)

    def test_wrong_types_are_named_as_ever(self) -> None:
        self.problem("{models: 3}", "models", "an object")
        self.problem("{models: {providers: []}}", "models.providers", "an object")
        ollama = "{agents: {defaults: {model: 'ollama/q'}}, models: {providers: []}}"
        self.problem(ollama, "models.providers", "an object")
        self.problem("{models: {providers: {openai: 3}}}", "models.providers.openai", "an object")
        for agents in ("3", "{defaults: 3}", "{defaults: {model: 3}}", "{entries: {a: {models: []}}}"):
            self.assertNotEqual(self.problems(f"{{agents: {agents}}}"), {})


class KeyTests(ParseCase):
    """A key that is in the environment goes where it belongs."""

    def keys_at(self, provider: str, environ: dict[str, str]) -> Secret | None:
        return providers(self, f"{{models: {{providers: {{openai: {provider}}}}}}}", environ)[
            "openai"
        ].api_key

    def test_to_the_providers_own_address_alone(self) -> None:
        environ = {"OPENAI_API_KEY": "sk"}
        for address in ("https://api.openai.com/v1", "https://api.openai.com", "https://api.openai.com/v1/"):
            self.assertEqual(self.keys_at(f"{{baseUrl: '{address}'}}", environ), Secret("sk"))
        for address in (
            "https://proxy.example.org/v1",
            "http://api.openai.com/v1",
            "https://api.openai.com:1/v1",
        ):
            self.assertIsNone(self.keys_at(f"{{baseUrl: '{address}'}}", environ), address)

    def test_to_another_place_of_the_same_provider(self) -> None:
        text = "{models: {providers: {minimax: {baseUrl: 'https://api.minimaxi.com/anthropic'}}}}"
        self.assertEqual(providers(self, text, {"MINIMAX_API_KEY": "k"})["minimax"].api_key, Secret("k"))

    def test_one_that_is_configured_wins(self) -> None:
        self.assertEqual(self.keys_at("{apiKey: 'mine'}", {"OPENAI_API_KEY": "sk"}), Secret("mine"))
        self.assertIsNone(self.keys_at("{apiKeys: ['mine']}", {"OPENAI_API_KEY": "sk"}))

    def test_the_name_of_its_variable(self) -> None:
        """OpenClaw's documentation has `apiKey: "NVIDIA_API_KEY"`."""
        text = "{models: {providers: {mine: {baseUrl: 'http://h', apiKey: 'NVIDIA_API_KEY'}}}}"
        self.assertEqual(providers(self, text, {"NVIDIA_API_KEY": "nv"})["mine"].api_key, Secret("nv"))
        self.assertIn("needs NVIDIA_API_KEY", self.warnings(text)["models.providers.mine.apiKey"])

    def test_variables_in_their_order(self) -> None:
        text = "{agents: {defaults: {model: 'google/g'}}}"
        both = {"GOOGLE_API_KEY": "second", "GEMINI_API_KEY": "first"}
        self.assertEqual(providers(self, text, both)["google"].api_key, Secret("first"))
        self.assertEqual(
            providers(self, text, {"GOOGLE_API_KEY": "second"})["google"].api_key, Secret("second")
        )


class OtherApiTests(ParseCase):
    """Who has an API of their own and OpenAI's too is asked through that."""

    def way(self, provider: str) -> tuple[str, str | None]:
        read = providers(self, f"{{models: {{providers: {{p: {provider}}}}}}}")["p"]
        return read.api, read.base_url

    def test_ollama(self) -> None:
        for address in ("http://h:11434", "http://h:11434/", "http://h:11434/v1", "http://h:11434/api"):
            self.assertEqual(
                self.way(f"{{api: 'ollama', baseUrl: '{address}'}}"),
                ("openai-completions", "http://h:11434/v1"),
            )

    def test_gemini(self) -> None:
        google = "https://generativelanguage.googleapis.com/v1beta"
        self.assertEqual(
            self.way(f"{{api: 'google-generative-ai', baseUrl: '{google}'}}"),
            ("openai-completions", f"{google}/openai"),
        )
        proxy = "https://gemini.example.org/v1beta"
        self.assertEqual(
            self.way(f"{{api: 'google-generative-ai', baseUrl: '{proxy}'}}"), ("google-generative-ai", proxy)
        )

    def test_responses(self) -> None:
        self.assertEqual(
            self.way("{api: 'openai-responses', baseUrl: 'http://h/v1'}"),
            ("openai-completions", "http://h/v1"),
        )

    def test_one_model_of_several(self) -> None:
        text = (
            "{models: {providers: {p: {baseUrl: 'http://h', models: ["
            "{id: 'a', api: 'ollama'}, {id: 'b'}, {id: 'c', api: 'ollama', baseUrl: 'http://i'}]}}}}"
        )
        read = providers(self, text)["p"]
        self.assertEqual((read.api, read.base_url), ("openai-completions", "http://h"))
        ways = [(model.api, model.base_url) for model in read.models]
        own = "openai-completions"
        self.assertEqual(ways, [(own, "http://h/v1"), (None, None), (own, "http://i/v1")])


class SilentModelTests(ParseCase):
    """Whoever brings a file along hears which of its models cannot be asked."""

    def test_why(self) -> None:
        for model, words in {
            "anthropic/c": "set ANTHROPIC_API_KEY, or models.providers.anthropic.apiKey",
            "nobody/c": "there is no models.providers.nobody",
            "claude": 'write it as "provider/model"',
            "v/c": '"google-vertex" is an API that this version does not speak',
        }.items():
            vertex = "models: {providers: {v: {api: 'google-vertex'}}}"
            text = f"{{agents: {{defaults: {{model: '{model}'}}}}, {vertex}}}"
            told = self.warnings(text)
            self.assertEqual([*told], ["agents.defaults.model"])
            self.assertIn(f'"{model}" cannot be asked: ', told["agents.defaults.model"])
            self.assertIn(words, told["agents.defaults.model"])

    def test_each_once_where_it_was_written(self) -> None:
        told = self.warnings("{agents: {list: [{id: 'a', model: 'n/c'}, {id: 'b', model: 'n/c'}]}}")
        self.assertEqual([*told], ["agents.list[0].model"])

    def test_one_that_can_be_asked(self) -> None:
        ollama = "{api: 'ollama', models: [{id: 'm', api: 'openai-completions'}]}"
        for defaults in (
            "model: 'local/any'",
            "model: 'fast', models: {'p/m': {alias: 'Fast'}}",
            "model: 'p/m'",
        ):
            text = f"{{agents: {{defaults: {{{defaults}}}}}, models: {{providers: {{p: {ollama}}}}}}}"
            self.assertEqual(self.warnings(text), {}, text)


class ThinkingTests(ParseCase):
    """A level of thinking that no model is told is said."""

    PROVIDERS = (
        "models: {providers: {p: {baseUrl: 'http://h', models: [{id: 'm', reasoning: true}, {id: 'n'}]}}}"
    )

    def told(self, agents: str) -> list[str]:
        return [*self.warnings(f"{{agents: {{{agents}}}, {self.PROVIDERS}}}")]

    def test_models_that_are_not_listed(self) -> None:
        self.assertEqual(
            self.told("defaults: {model: 'p/other', thinkingDefault: 'low'}"),
            ["agents.defaults.thinkingDefault"],
        )

    def test_one_agents_own(self) -> None:
        listed = "list: [{id: 'a', thinkingDefault: 'high'}, {id: 'b', thinkingDefault: 'off'}]"
        self.assertEqual(
            self.told(f"defaults: {{model: 'p/o'}}, {listed}"), ["agents.list[0].thinkingDefault"]
        )

    def test_what_is_heeded_or_cannot_be(self) -> None:
        for defaults in (
            "model: 'p/m', thinkingDefault: 'low'",
            "model: 'M', models: {'p/m': {alias: 'm'}}, thinkingDefault: 'low'",
            "model: 'p/n', thinkingDefault: 'low'",
            "model: 'p/o', thinkingDefault: 'off'",
            "model: 'p/o'",
            "model: 'local/x', thinkingDefault: 'low'",
            "thinkingDefault: 'low'",
        ):
            self.assertEqual(self.told(f"defaults: {{{defaults}}}"), [], defaults)
