"""Failed attempts to log in, counted by what was tried and by where it came from.

The theory: a key may fail `max_attempts` times within any window of `window_ms`; the failure that reaches
the limit locks the key for `lockout_ms`, during which nothing it offers is looked at, right or wrong. The
table is bounded: when it is full, the key that failed longest ago is forgotten, which costs an attacker
with that many addresses nothing they did not have already.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.logger import Logger

from openclaw_twisted.auth.addresses import ClientAddress
from openclaw_twisted.config.settings import RateLimitSettings
from openclaw_twisted.errors import RateLimitedError

__all__ = ["MAX_ENTRIES", "MAX_RETRY_AFTER_SECONDS", "FailureLimiter"]

MAX_ENTRIES = 10_000
MAX_RETRY_AFTER_SECONDS = 120.0  # OpenAI's SDKs stop waiting above that

_Key = tuple[str, str]

_log = Logger()


@dataclass(slots=True)
class _Failures:
    at: deque[float] = field(default_factory=deque)
    locked_until: float = 0.0


class FailureLimiter:
    """Counts failures per (scope, network) and refuses those with too many."""

    def __init__(
        self, settings: RateLimitSettings, seconds: Callable[[], float], *, max_entries: int = MAX_ENTRIES
    ) -> None:
        """`seconds` is a monotonic clock, such as `reactor.seconds`."""
        self.settings = settings
        self._seconds = seconds
        self._max_entries = max_entries
        self._entries: OrderedDict[_Key, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, scope: str, client: ClientAddress) -> None:
        """Raise `RateLimitedError` while this client is locked out."""
        if not self._entries or self._exempt(client):
            return
        key = (scope, client.network)
        failures = self._entries.get(key)
        if failures is None or not failures.locked_until:
            return
        left = failures.locked_until - self._seconds()
        if left > 0:
            raise RateLimitedError(
                "Too many failed attempts from this address. Try again later.",
                retry_after_seconds=min(left, MAX_RETRY_AFTER_SECONDS),
            )
        del self._entries[key]

    def record(self, scope: str, client: ClientAddress) -> None:
        """Count one failure of this client."""
        if self._exempt(client):
            return
        now, key = self._seconds(), (scope, client.network)
        failures = self._entries.setdefault(key, _Failures())
        self._entries.move_to_end(key)
        while failures.at and now - failures.at[0] >= self.settings.window_ms / 1000:
            failures.at.popleft()
        failures.at.append(now)
        if len(failures.at) >= self.settings.max_attempts:
            failures.at.clear()
            failures.locked_until = now + self.settings.lockout_ms / 1000
            _log.warn(
                "Locked out {network} for {lockout_seconds:.0f} s after {attempts} failed attempts.",
                network=client.network,
                scope=scope,
                attempts=self.settings.max_attempts,
                lockout_seconds=self.settings.lockout_ms / 1000,
            )
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def forgive(self, scope: str, client: ClientAddress) -> None:
        """Forget this client's failures: it has shown the right secret."""
        if self._entries:
            self._entries.pop((scope, client.network), None)

    def _exempt(self, client: ClientAddress) -> bool:
        return self.settings.exempt_loopback and client.local
