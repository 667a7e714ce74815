"""The download of the local model's file: whether it may begin, how far it is, what went wrong last."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from openclaw_twisted.config.settings import EMBEDDING_KEY
from openclaw_twisted.errors import GatewayError, ModelNotReadyError, NoProviderError
from openclaw_twisted.providers.progress_bar import ProgressBar
from openclaw_twisted.providers.weights import Weights, WeightsStore

__all__ = ["Fetching"]


FETCH_AGAIN_SECONDS: Final = 60.0
MIN_RETRY_AFTER_SECONDS: Final = 5.0
# OpenAI's SDK does not wait longer than this before it tries again.
MAX_RETRY_AFTER_SECONDS: Final = 120.0

_MEGABYTE: Final = 10**6
_ANOTHER_FILE: Final = (
    "Put a GGUF file there, or name another one: models.providers.local.path in the configuration, or "
    "openclaw-gateway local use FILE."
)

_log = Logger()


class Fetching:
    """Fetches one model's file, when it may; `bar` shows the progress."""

    def __init__(
        self, clock: Any, store: WeightsStore, weights: Weights, *, may_fetch: bool, bar: ProgressBar | None
    ) -> None:
        self._clock = clock
        self._store = store
        self.weights = weights
        self._may_fetch = may_fetch
        self._bar = bar
        self._work: Deferred[None] | None = None
        self._done_bytes = 0
        self._total_bytes = 0
        self._first_bytes: int | None = None
        self._began_at = 0.0
        self._problem: str | None = None
        self._failed_at = 0.0

    @property
    def ways_out(self) -> str:
        """What to do when the model cannot be had."""
        known = self.weights.known
        install = "Run: pip install 'openclaw-twisted[local]' && openclaw-gateway local pull"
        if known is not None and known.embedding is not None:
            return f"{install} --model {known.name}; or name another provider's model in {EMBEDDING_KEY}."
        return f"{install}; or configure a provider and its API key under models.providers."

    def obstacle(self) -> NoProviderError | None:
        """Return why the file cannot be had now, if so."""
        name, known, there = self.weights.name, self.weights.known, self._store.present(self.weights)
        if there and known is not None:
            return None
        wait = self._failed_at + FETCH_AGAIN_SECONDS - self._clock.seconds()
        if self._problem is not None and wait > 0:
            way = self.ways_out if known is not None else _ANOTHER_FILE
            return NoProviderError(f"{self._problem} {way}", retry_after_seconds=wait)
        if there:
            return None
        if known is None:
            return NoProviderError(
                f"The local model's file {self.weights.path} is not there. {_ANOTHER_FILE}"
            )
        if not self._may_fetch:
            return NoProviderError(f"The local model {name} has not been fetched. {self.ways_out}")
        return None

    def progress(self) -> ModelNotReadyError:
        """Return the error for those who want the model meanwhile: how far it is, when to come back."""
        name = self.weights.name
        if not self._total_bytes:
            message = f"The local model {name} is about to be fetched. Try again in a while."
            return ModelNotReadyError(message, retry_after_seconds=MIN_RETRY_AFTER_SECONDS)
        percent = 100 * self._done_bytes // self._total_bytes
        size = self._total_bytes // _MEGABYTE
        return ModelNotReadyError(
            f"The local model {name} is being fetched: {percent} % of {size} MB. Try again in a while.",
            retry_after_seconds=self._seconds_left(),
        )

    def start(self) -> Deferred[None]:
        """Fetch the file unless it is there; fails with a `GatewayError` that `obstacle` then repeats."""
        if self._bar is not None and not self._store.present(self.weights):
            self._bar.announce(self.weights)
        self._began_at = self._clock.seconds()
        self._first_bytes = None
        self._done_bytes = self._total_bytes = 0
        self._work = Deferred.fromCoroutine(self._store.pull(self.weights, self._progressed))
        return self._work.addBoth(self._ended)

    def cancel(self) -> None:
        """Stop the download; what has been fetched is kept."""
        assert self._work is not None
        self._work.cancel()

    def _progressed(self, done_bytes: int, total_bytes: int, source: str) -> None:
        if self._first_bytes is None or done_bytes < self._done_bytes:
            self._first_bytes = done_bytes
            self._began_at = self._clock.seconds()
        self._done_bytes, self._total_bytes = done_bytes, total_bytes
        if self._bar is not None:
            self._bar(done_bytes, total_bytes, source)

    def _ended(self, result: Failure | None) -> Failure | None:
        if self._bar is not None:
            self._bar.finish()
        self._problem = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._failed_at = self._clock.seconds()
            if isinstance(result.value, GatewayError):
                self._problem = result.value.message
            else:
                _log.failure("fetching the local model failed", result)
                self._problem = "Fetching the local model failed; the log says why."
        return result

    def _seconds_left(self) -> float:
        """Return when the download should be done at its present rate, within limits."""
        fetched = self._done_bytes - (self._first_bytes or 0)
        took = self._clock.seconds() - self._began_at
        left = MAX_RETRY_AFTER_SECONDS
        if fetched > 0:
            left = took * (self._total_bytes - self._done_bytes) / fetched
        return min(max(left, MIN_RETRY_AFTER_SECONDS), MAX_RETRY_AFTER_SECONDS)
