from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.descriptors import OWN_FILES, most_connections

__all__ = ["Reserve"]


class Reserve(SynchronousTestCase):
    def test_what_the_gateway_needs_itself_is_left(self) -> None:
        self.assertEqual(most_connections(10_000, 100), 10_000 - OWN_FILES - 100)

    def test_few_files_are_shared_by_halves(self) -> None:
        self.assertEqual(most_connections(128, 100), 64)
        self.assertEqual(most_connections(10_000, None), 5000)
