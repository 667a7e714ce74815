"""Keys that OpenClaw's setup has put into its authentication profiles."""

from __future__ import annotations

import json

from openclaw_twisted.config.auth_profiles import AuthProfiles
from openclaw_twisted.config.settings import ProviderSettings, Secret
from tests.config.test_file import FolderCase

__all__ = ["AuthProfilesTests", "ProfileFileTests"]

PLACE = "agents/main/agent/auth-profiles.json"
PROFILES = {
    "anthropic:default": {"type": "api_key", "provider": "anthropic", "key": " sk-1 "},
    "anthropic:work": {"type": "api_key", "provider": "anthropic", "key": "sk-2"},
    "anthropic:login": {"type": "oauth", "provider": "anthropic", "access": "a", "refresh": "r"},
    "anthropic:empty": {"type": "api_key", "provider": "anthropic"},
    "mine:default": {"type": "api_key", "provider": "mine", "keyRef": {"source": "env", "id": "MINE"}},
}


def written(profiles: object = PROFILES, **more: object) -> str:
    return json.dumps({"version": 1, "profiles": profiles, **more})


class AuthProfilesTests(FolderCase):
    """Which keys of a provider there are, and in which order."""

    def keys(self, text: str, **order: list[str]) -> list[Secret]:
        return list(AuthProfiles(text).keys("anthropic", order))

    def test_in_the_order_of_the_file(self) -> None:
        self.assertEqual(self.keys(written()), [Secret("sk-1"), Secret("sk-2")])

    def test_an_order_leaves_out_what_it_does_not_name(self) -> None:
        self.assertEqual(self.keys(written(), anthropic=["anthropic:work"]), [Secret("sk-2")])
        own = written(order={"anthropic": ["anthropic:work", "anthropic:default", "gone", 3]})
        self.assertEqual(self.keys(own, anthropic=["anthropic:default"]), [Secret("sk-2"), Secret("sk-1")])

    def test_what_is_not_as_expected_is_passed_over(self) -> None:
        numbered = {"type": "api_key", "provider": "anthropic", "key": 3}
        strange: tuple[object, ...] = ([], 3, {"a": 3}, {"a": numbered})
        for profiles in strange:
            self.assertEqual(self.keys(written(profiles, order=3)), [])


class ProfileFileTests(FolderCase):
    """The file is found in the state directory, and its keys are used where none is configured."""

    def providers(self, text: str, environ: dict[str, str] | None = None) -> dict[str, ProviderSettings]:
        self.write("openclaw.json", text)
        return dict(self.load(environ=environ).settings.models.providers)

    def test_a_model_is_enough(self) -> None:
        self.write(PLACE, written())
        read = self.providers("{agents: {defaults: {model: 'anthropic/c'}}}")["anthropic"]
        self.assertEqual((read.api_key, read.api_keys), (Secret("sk-1"), (Secret("sk-2"),)))
        self.assertEqual(read.base_url, "https://api.anthropic.com")

    def test_the_configurations_order_counts(self) -> None:
        self.write(PLACE, written())
        text = "{agents: {defaults: {model: 'anthropic/c'}}, auth: {order: {anthropic: ['anthropic:work']}}}"
        read = self.providers(text)["anthropic"]
        self.assertEqual((read.api_key, read.api_keys), (Secret("sk-2"), ()))
        self.assertEqual(self.warnings(), [])

    def test_a_provider_of_ones_own_and_a_reference(self) -> None:
        self.write(PLACE, written())
        text = "{models: {providers: {mine: {baseUrl: 'http://h'}}}}"
        self.assertEqual(self.providers(text, {"MINE": "m"})["mine"].api_key, Secret("m"))

    def test_configured_and_environment_first(self) -> None:
        self.write(PLACE, written())
        text = "{models: {providers: {anthropic: {apiKey: 'sk-0'}}}}"
        read = self.providers(text)["anthropic"]
        self.assertEqual((read.api_key, read.api_keys), (Secret("sk-0"), ()))
        text = "{agents: {defaults: {model: 'anthropic/c'}}}"
        read = self.providers(text, {"ANTHROPIC_API_KEY": "sk-e"})["anthropic"]
        self.assertEqual((read.api_key, read.api_keys), (Secret("sk-e"), ()))

    def test_one_that_cannot_be_read_is_left_out(self) -> None:
        for text in ("{", "[]", "[" * 100_000):
            path = self.write(PLACE, text)
            self.assertEqual(
                self.warnings(), [f"{path}: is left out: it is not JSON as OpenClaw writes it"], text[:9]
            )

    def test_others_must_not_read_it(self) -> None:
        path = self.write(PLACE, written(), mode=0o640)
        self.assertEqual(
            self.warnings(), [f"{path}: holds secrets and others can read it; run: chmod 600 {path}"]
        )
