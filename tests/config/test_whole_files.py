"""Whole files: those that people have, and whatever else could stand in one."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import parse
from openclaw_twisted.config.settings import ModelChoice, Secret, Settings
from openclaw_twisted.errors import ConfigError
from tests.config.cases import DATA, STRONG, ParseCase

__all__ = ["ArbitraryInputTests", "RealFileTests"]


class RealFileTests(ParseCase):
    """Files as OpenClaw's users have them start this gateway."""

    def test_the_list_shape_of_spring_2026(self) -> None:
        text = (DATA / "openclaw-2026.3.json5").read_text(encoding="utf-8")
        loaded = self.loaded(text, {"TELEGRAM_BOT_TOKEN": "t", "ANTHROPIC_API_KEY": "sk-ant"})
        read = loaded.settings
        self.assertEqual([*read.agents.entries], ["main", "work", "notes"])
        self.assertTrue(read.agents.entries["main"].default)
        self.assertEqual(
            read.agents.entries["notes"].model,
            ModelChoice("anthropic/claude-sonnet-4-5", ("lmstudio/qwen3-8b",)),
        )
        self.assertEqual(read.models.providers["local"].base_url, "http://127.0.0.1:8000/v1")
        self.assertEqual(read.models.providers["openrouter"].api_key, Secret("sk-or-v1-household"))
        self.assertEqual(read.models.providers["anthropic"].api_key, Secret("sk-ant"))
        self.assertEqual(read.models.providers["lmstudio"].models[0].compat.max_tokens_field, "max_tokens")
        self.assertEqual(read.gateway.http.endpoints.chat_completions.max_body_bytes, 20_000_000)
        self.assertEqual(read.session.reset.mode, "daily")
        self.assertEqual(read.gateway.reload.mode, "hybrid")
        self.assertEqual(
            [warning.path for warning in loaded.warnings], ["agents.defaults.thinkingDefault", "", ""]
        )

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
        self.assertEqual(read.agents.defaults.timeout_seconds, 0)
        self.assertEqual(read.agents.entries["ops"].context_injection, "never")
        self.assertEqual(read.session.maintenance.prune_after_seconds, 45 * 86400)
        self.assertEqual(read.tools.also_allow, ("group:memory",))
        self.assertIn("models.providers.team.apiKey", [warning.path for warning in loaded.warnings])

    def test_openclaws_own_limit_of_a_run_is_taken_as_it_is(self) -> None:
        read = self.settings("{agents: {defaults: {timeoutSeconds: 172800}}}")
        self.assertEqual(read.agents.defaults.timeout_seconds, 48 * 3600)

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
