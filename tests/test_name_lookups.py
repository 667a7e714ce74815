"""Host names: each is looked up once at a time, whoever asks."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from openclaw_twisted.name_lookups import Lookups

ONE = IPv4Address("TCP", "127.0.0.1", 443)
OTHER = IPv4Address("TCP", "127.0.0.2", 443)


@implementer(IHostnameResolver)
class Slow:
    """A resolver that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def resolveHostName(self, receiver: Any, *asked: Any) -> Any:
        receiver.resolutionBegan(None)
        self.asked.append((receiver, *asked))

    def answer(self, number: int, *addresses: Any) -> None:
        receiver = self.asked[number][0]
        for address in addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


@implementer(IResolutionReceiver)
class Receiver:
    def __init__(self) -> None:
        self.began: list[Any] = []
        self.addresses: list[Any] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolution: Any) -> None:
        self.began.append(resolution)

    def addressResolved(self, address: Any) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self.complete.callback(None)


class NamesThatAreLookedUp(SynchronousTestCase):
    def setUp(self) -> None:
        self.slow = Slow()
        self.lookups = Lookups(self.slow)

    def look_up(self, *asked: Any, **how: Any) -> Receiver:
        receiver = Receiver()
        self.lookups.resolveHostName(receiver, *asked, **how)
        return receiver

    def test_those_who_want_the_same_share_one(self) -> None:
        receivers = [self.look_up("a.example", 443) for _ in range(3)]
        self.assertEqual([asked[1:3] for asked in self.slow.asked], [("a.example", 443)])
        self.slow.answer(0, ONE, OTHER)
        for receiver in receivers:
            self.successResultOf(receiver.complete)
            self.assertEqual(receiver.addresses, [ONE, OTHER])

    def test_what_is_different_is_asked_for_apart(self) -> None:
        self.look_up("a.example", 443)
        self.look_up("b.example", 443)
        self.look_up("a.example", 80)
        self.look_up("a.example", 443, [IPv6Address])
        self.look_up("a.example", 443, transportSemantics="UDP")
        self.assertEqual(
            [asked[1:] for asked in self.slow.asked],
            [
                ("a.example", 443, None, "TCP"),
                ("b.example", 443, None, "TCP"),
                ("a.example", 80, None, "TCP"),
                ("a.example", 443, [IPv6Address], "TCP"),
                ("a.example", 443, None, "UDP"),
            ],
        )

    def test_an_answer_is_not_kept(self) -> None:
        self.look_up("a.example", 443)
        self.slow.answer(0, ONE)
        again = self.look_up("a.example", 443)
        self.slow.answer(1, OTHER)
        self.successResultOf(again.complete)
        self.assertEqual(again.addresses, [OTHER])

    def test_who_asks_again_when_told_starts_a_new_one(self) -> None:
        first = self.look_up("a.example", 443)
        first.complete.addCallback(lambda _: self.look_up("a.example", 443))
        self.slow.answer(0)
        self.assertEqual(len(self.slow.asked), 2)

    def test_nothing_found(self) -> None:
        receiver = self.look_up("a.example", 443)
        self.slow.answer(0)
        self.successResultOf(receiver.complete)
        self.assertEqual(receiver.addresses, [])

    def test_giving_up_takes_it_from_nobody(self) -> None:
        first, second = (self.look_up("a.example", 443) for _ in range(2))
        first.began[0].cancel()
        self.slow.answer(0, ONE)
        self.successResultOf(second.complete)
        self.assertEqual(second.addresses, [ONE])

    def test_its_interfaces(self) -> None:
        verifyObject(IHostnameResolver, self.lookups)
        receiver = self.look_up("a.example", 443)
        verifyObject(IHostResolution, receiver.began[0])
        verifyObject(IResolutionReceiver, self.slow.asked[0][0])
        self.assertEqual(receiver.began[0].name, "a.example")
