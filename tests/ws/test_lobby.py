from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.errors import OverloadedError
from openclaw_twisted.ws.lobby import Lobby


class LobbyTests(SynchronousTestCase):
    def test_one_address_has_so_many_places(self):
        lobby = Lobby(places=10, places_per_network=2)
        first, _second = lobby.enter("a"), lobby.enter("a")
        error = self.assertRaises(OverloadedError, lobby.enter, "a")
        self.assertIn("from this address", error.message)
        lobby.enter("b")
        first.leave()
        lobby.enter("a")

    def test_all_together_have_so_many_places(self):
        lobby = Lobby(places=2, places_per_network=2)
        first, _second = lobby.enter("a"), lobby.enter("b")
        error = self.assertRaises(OverloadedError, lobby.enter, "c")
        self.assertNotIn("from this address", error.message)
        first.leave()
        lobby.enter("c")

    def test_leaving_twice_gives_one_place_back(self):
        lobby = Lobby(places=2, places_per_network=2)
        first, _second = lobby.enter("a"), lobby.enter("a")
        first.leave()
        first.leave()
        lobby.enter("a")
        self.assertRaises(OverloadedError, lobby.enter, "a")
