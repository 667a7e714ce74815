from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.boundaries import Sampling
from openclaw_twisted.config.sampling import fits, with_defaults
from tests.config.cases import ParseCase, written

__all__ = ["DefaultsTests", "ParamsTests"]

PLACES = (
    "agents.defaults.params",
    "agents.defaults.models.m.params",
    "agents.entries.main.params",
    "models.providers.p.params",
)


class DefaultsTests(SynchronousTestCase):
    """A request is completed, never changed."""

    def test_what_the_caller_says_wins(self) -> None:
        merged = with_defaults(Sampling(temperature=0.0), {"temperature": 1, "maxTokens": 50})
        self.assertEqual(merged, Sampling(temperature=0.0, max_tokens=50))

    def test_both_spellings_are_read(self) -> None:
        self.assertEqual(
            with_defaults(Sampling(), {"top_p": 0.5, "logitBias": {"1": 2}, "stop": ["a"], "topK": 3}),
            Sampling(top_p=0.5, logit_bias={"1": 2.0}, stop=("a",)),
        )

    def test_one_word_to_stop_at(self) -> None:
        self.assertEqual(with_defaults(Sampling(), {"stop": "END"}), Sampling(stop=("END",)))

    def test_what_is_no_sampling_or_of_the_wrong_type_is_left_out(self) -> None:
        asked = Sampling(seed=1)
        self.assertEqual(with_defaults(asked, {"topK": "long", "temperature": "warm"}), asked)

    def test_nothing_is_unset(self) -> None:
        self.assertEqual(with_defaults(Sampling(), {"temperature": None}), Sampling())
        self.assertTrue(fits("temperature", None))


class ParamsTests(ParseCase):
    """What `params` hold is looked at when the file is read."""

    def test_parameters_without_effect_are_named(self) -> None:
        for place in PLACES:
            warnings = self.warnings(written(place, "{temperature: 1, topK: 'long', top_k: 4}"))
            self.assertEqual([*warnings], [""], place)
            self.assertIn(f"{place}.topK, {place}.top_k", warnings[""])

    def test_values_of_the_wrong_type_are_named(self) -> None:
        for place in PLACES:
            warnings = self.warnings(written(place, "{temperature: 'warm', maxTokens: 1.5, seed: 3}"))
            self.assertEqual([*warnings], [f"{place}.temperature", f"{place}.maxTokens"])

    def test_good_ones_are_not_spoken_of(self) -> None:
        for place in PLACES:
            self.assertEqual(self.warnings(written(place, "{topP: 0.5, stop: 'END', seed: 3}")), {})
