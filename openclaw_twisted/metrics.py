"""What the gateway counts: every family that `GET /metrics` shows, in a registry of its own.

No floor knows this module. Each tells what happens to a callable it is handed, or can be asked how many of
something there are; `service` hands them the methods below. Labels take their values from the configuration
or from our own tables, never from a request, so that nobody outside can make the registry grow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from itertools import product
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

__all__ = ["Metrics"]

RUN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

DROP_REASONS = (
    *("too_many_connections", "slow_head", "slow_body", "stalled_reader"),
    *("slow_login", "slow_consumer", "large_message"),  # of WebSockets
)
LOGIN_FAILURES = ("unauthorized", "rate_limited")

_ENDINGS = ("finished", "failed", "cancelled")
_STANDINGS = ("ready", "resting", "failing", "refused")


class _EndedRun(Protocol):
    """How a run went; times in seconds from when it was asked for."""

    @property
    def agent_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def first_token_seconds(self) -> float | None: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...


class Metrics:
    """The families of one gateway; `versions` names what it is built of."""

    def __init__(self, *, agents: Sequence[str] = (), versions: Mapping[str, str]) -> None:
        self.registry = CollectorRegistry()
        self._of_runs()
        self.name_agents(agents)
        self._of_upstreams()
        self._of_doors()
        self._lag = self._histogram(
            "event_loop_lag_seconds",
            "How late the event loop calls what is due, tried ten times a second.",
            LAG_SECONDS,
        )
        build = Info("build", "The versions in use.", namespace="openclaw", registry=self.registry)
        build.info(dict(versions))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def watch(
        self,
        *,
        runs_running: Callable[[], int],
        runs_waiting: Callable[[], int],
        http_connections: Callable[[], int],
        websocket_connections: Callable[[], int],
    ) -> None:
        """Ask these, at each scrape, how many there are."""
        self._gauge("runs_running", "Runs whose turn has come.", runs_running)
        self._gauge("runs_waiting", "Runs that wait for their session's turn or for a place.", runs_waiting)
        self._gauge("http_connections", "Open HTTP connections.", http_connections)
        self._gauge("websocket_connections", "Open WebSockets, logged in or not.", websocket_connections)

    def run_ended(self, run: _EndedRun) -> None:
        """Count a run that has ended."""
        self._runs(run.agent_id, run.status).inc()
        self._run_seconds(run.status).observe(run.seconds)
        if run.first_token_seconds is not None:
            self._first_token_seconds.observe(run.first_token_seconds)
        self._prompt_tokens.inc(run.prompt_tokens)
        self._completion_tokens.inc(run.completion_tokens)

    def name_agents(self, agents: Sequence[str]) -> None:
        """Count the runs of these agents from 0, so that the first of each shows as an increase."""
        for agent in agents:
            for status in _ENDINGS:
                self._runs(agent, status)

    def upstream_failed(self, provider: str, code: str, then: str) -> None:
        """Count an answer that a provider did not give; `then` is `retry`, `fallback` or neither."""
        self._failures(provider, code).inc()
        if then == "retry":
            self._retries(provider).inc()
        elif then == "fallback":
            self._fallbacks(provider).inc()

    def upstream_attempted(self, provider: str, outcome: str) -> None:
        """Count a call of a provider, by how its first line said it went."""
        self._attempts(provider, outcome).inc()

    def watch_keys(self, providers: Collection[str], count: Callable[[str, str], int]) -> None:
        """Ask, at each scrape, how many keys of a provider stand in one of our ways.

        Its second tries and fallbacks are counted from 0, so that the first of them shows as an increase.
        """
        self._keys.clear()
        for provider, standing in product(providers, _STANDINGS):
            self._keys.labels(provider, standing).set_function(partial(count, provider, standing))
        for provider in providers:
            self._retries(provider)
            self._fallbacks(provider)

    def http_answered(self, route: str, status: int) -> None:
        """Count an answer of the HTTP door; `route` is a name from the route table, or `none`."""
        self._responses(route, status).inc()

    def connection_dropped(self, reason: str) -> None:
        """Count a client connection that was not kept; `reason` is one of `DROP_REASONS`."""
        self._drops(reason).inc()

    def login_failed(self, code: str) -> None:
        """Count an attempt to log in that was refused; `code` is the error's."""
        self._failed_logins(code).inc()

    def loop_late(self, seconds: float) -> None:
        """Count a call that the event loop made so much too late."""
        self._lag.observe(seconds)

    def _of_runs(self) -> None:
        runs = self._counter("runs", "Runs that have ended.", "agent", "status")
        seconds = self._histogram(
            "run_duration_seconds",
            "From when a run is asked for to its end, waiting for its turn included.",
            RUN_SECONDS,
            "status",
        )
        # Remembering the children spares each run the building and checking of label values.
        self._runs, self._run_seconds = cache(runs.labels), cache(seconds.labels)
        for status in _ENDINGS:  # present from the start, so that the first of each shows as an increase
            self._run_seconds(status)
        self._first_token_seconds = self._histogram(
            "time_to_first_token_seconds",
            "From when a run is asked for to the first piece of its answer.",
            FIRST_TOKEN_SECONDS,
        )
        tokens = self._counter("tokens", "Tokens as the providers count them.", "kind")
        self._prompt_tokens, self._completion_tokens = tokens.labels("prompt"), tokens.labels("completion")

    def _of_upstreams(self) -> None:
        failures = self._counter(
            "upstream_failures", "Answers that a provider failed to give.", "provider", "code"
        )
        retries = self._counter(
            "upstream_retries", "Failures after which the same model was tried again.", "provider"
        )
        fallbacks = self._counter(
            "upstream_fallbacks", "Failures after which another model was tried.", "provider"
        )
        attempts = self._counter("upstream_attempts", "Calls of a provider.", "provider", "outcome")
        self._keys = Gauge(
            "upstream_keys",
            "A provider's keys, each once for every model it is for.",
            ("provider", "standing"),
            namespace="openclaw",
            registry=self.registry,
        )
        self._attempts = cache(attempts.labels)
        self._failures, self._retries = cache(failures.labels), cache(retries.labels)
        self._fallbacks = cache(fallbacks.labels)

    def _of_doors(self) -> None:
        responses = self._counter("http_responses", "Answers of the HTTP door.", "route", "status")
        drops = self._counter(
            "dropped_connections", "Client connections closed because of a limit.", "reason"
        )
        self._drops = cache(drops.labels)
        for reason in DROP_REASONS:
            self._drops(reason)
        logins = self._counter("failed_logins", "Attempts to log in, at any door, that were refused.", "code")
        self._responses, self._failed_logins = cache(responses.labels), cache(logins.labels)
        for code in LOGIN_FAILURES:
            self._failed_logins(code)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(name, says, labels, namespace="openclaw", registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, says, labels, namespace="openclaw", registry=self.registry, buckets=buckets)

    def _gauge(self, name: str, says: str, count: Callable[[], int]) -> None:
        Gauge(name, says, namespace="openclaw", registry=self.registry).set_function(count)
