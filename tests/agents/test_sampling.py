from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.agents.sampling import with_defaults
from openclaw_twisted.boundaries import Sampling


class Defaults(SynchronousTestCase):
    def test_what_the_caller_says_wins(self) -> None:
        merged = with_defaults(Sampling(temperature=0.0), {"temperature": 1, "maxTokens": 50})
        self.assertEqual(merged, Sampling(temperature=0.0, max_tokens=50))

    def test_both_spellings_are_read(self) -> None:
        self.assertEqual(
            with_defaults(Sampling(), {"top_p": 0.5, "stop": ["a"], "topK": 3}),
            Sampling(top_p=0.5, stop=("a",)),
        )

    def test_what_is_no_sampling_or_of_the_wrong_type_is_left_out(self) -> None:
        asked = Sampling(seed=1)
        self.assertEqual(with_defaults(asked, {"cacheRetention": "long", "temperature": "warm"}), asked)
