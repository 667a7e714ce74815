from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.http.namespaces import MAX_FUNCTION_NAME, name_within


class Names(SynchronousTestCase):
    def test_a_short_one_is_put_together(self) -> None:
        self.assertEqual(name_within("crm", "find"), "crm__find")

    def test_a_long_one_is_cut_and_stays_one_of_its_own(self) -> None:
        names = [name_within("n" * 50, "f" * 20 + end) for end in ("a", "b", "a")]
        self.assertEqual([len(name) for name in names], [MAX_FUNCTION_NAME] * 3)
        self.assertEqual((names[0] == names[2], names[0] == names[1]), (True, False))
        self.assertEqual(len(name_within("n" * 50, "f" * 12)), MAX_FUNCTION_NAME)
