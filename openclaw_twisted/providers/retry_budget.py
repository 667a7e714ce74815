"""How many second tries a provider gets: a share of the first ones, so that its bad day is not made worse.

A provider that is down fails every request. If each were tried again, it would come back to twice the load.
So a try is paid for with what earlier requests have put in, a little each, with a reserve for those who ask
seldom: for 100 requests or more, the provider sees at most 1.2 times as many.
"""

from __future__ import annotations

__all__ = ["RetryBudget"]

SHARE = 0.15
RESERVE = 5.0


class RetryBudget:
    """The second tries that one provider has left."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = RESERVE

    def asked(self) -> None:
        """Note a first try."""
        self._tokens = min(self._tokens + SHARE, RESERVE)

    def take(self) -> bool:
        """Take a second try, if there is one."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
