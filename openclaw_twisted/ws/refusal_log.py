"""Who was refused, in the log: a client that comes again and again drives no other line out of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from openclaw_twisted.auth.addresses import ClientAddress
from openclaw_twisted.ws.refusal import Refusal

__all__ = ["EVERY_SECONDS", "MAX_REMEMBERED", "RefusalLog"]

EVERY_SECONDS = 60.0
"""How often the same is said of the same network."""
MAX_REMEMBERED = 1000


@dataclass(slots=True)
class _Said:
    again_at: float
    more: int = 0


class RefusalLog:
    """Says each kind of refusal once a minute for each network, with how many there were since."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._said: OrderedDict[tuple[str, str], _Said] = OrderedDict()

    def tell(self, address: ClientAddress, refusal: Refusal) -> None:
        """Say, or count, that a client was refused."""
        now, key = self._clock.seconds(), (address.network, refusal.kind)
        said = self._said.pop(key, _Said(now))
        self._said[key] = said
        if now < said.again_at:
            said.more += 1
            return
        again = f", and {said.more} more since that was last said" if said.more else ""
        self._log.info(
            "refused a WebSocket client from {address}: {kind}{again}",
            address=str(address.ip),
            kind=refusal.kind,
            again=again,
            close_code=refusal.close_code,
        )
        self._said[key] = _Said(now + EVERY_SECONDS)
        if len(self._said) > MAX_REMEMBERED:
            self._said.popitem(last=False)
