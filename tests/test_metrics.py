from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.metrics import Metrics

__all__ = ["CountingTests", "DocumentedTests"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[^|]*)\| .+ \|$", re.MULTILINE)


@dataclass
class Ended:
    """A run that has ended."""

    agent_id: str = "main"
    status: str = "finished"
    seconds: float = 2.0
    first_token_seconds: float | None = 0.2
    prompt_tokens: int = 3
    completion_tokens: int = 2


def full() -> Metrics:
    """Return metrics in which every family has something to show."""
    metrics = Metrics(agents=["main"], versions={"version": "1", "twisted": "2"})
    metrics.watch(
        runs_running=lambda: 1,
        runs_waiting=lambda: 2,
        http_connections=lambda: 3,
        websocket_connections=lambda: 4,
    )
    metrics.run_ended(Ended())
    metrics.upstream_failed("a", "upstream_timeout", "retry")
    metrics.upstream_failed("a", "upstream_timeout", "fallback")
    metrics.upstream_failed("a", "upstream_timeout", "give up")
    metrics.upstream_attempted("a", "answered")
    metrics.watch_keys(["a"], lambda provider, standing: len(provider + standing))
    metrics.http_answered("GET /health", 200)
    metrics.login_failed("unauthorized")
    metrics.loop_late(0.003)
    return metrics


class CountingTests(SynchronousTestCase):
    def value(self, metrics: Metrics, name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"openclaw_{name}", labels)

    def test_the_first_of_what_alarms_are_made_of_is_an_increase(self) -> None:
        metrics = Metrics(agents=["main"], versions={})
        for status in ("finished", "failed", "cancelled"):
            self.assertEqual(self.value(metrics, "runs_total", agent="main", status=status), 0)
        for code in ("unauthorized", "rate_limited"):
            self.assertEqual(self.value(metrics, "failed_logins_total", code=code), 0)
        metrics.watch_keys(["a"], lambda _provider, _standing: 0)
        for name in ("upstream_retries_total", "upstream_fallbacks_total"):
            self.assertEqual(self.value(metrics, name, provider="a"), 0)
        for reason in ("too_many_connections", "slow_login", "slow_consumer"):
            self.assertEqual(self.value(metrics, "dropped_connections_total", reason=reason), 0)

    def test_what_is_told_is_counted(self) -> None:
        metrics = full()
        self.assertEqual(self.value(metrics, "runs_total", agent="main", status="finished"), 1)
        self.assertEqual(self.value(metrics, "run_duration_seconds_sum", status="finished"), 2.0)
        self.assertEqual(self.value(metrics, "time_to_first_token_seconds_sum"), 0.2)
        self.assertEqual(self.value(metrics, "tokens_total", kind="prompt"), 3)
        self.assertEqual(self.value(metrics, "tokens_total", kind="completion"), 2)
        self.assertEqual(
            self.value(metrics, "upstream_failures_total", provider="a", code="upstream_timeout"), 3
        )
        self.assertEqual(self.value(metrics, "upstream_retries_total", provider="a"), 1)
        self.assertEqual(self.value(metrics, "upstream_fallbacks_total", provider="a"), 1)
        self.assertEqual(self.value(metrics, "upstream_attempts_total", provider="a", outcome="answered"), 1)
        self.assertEqual(self.value(metrics, "upstream_keys", provider="a", standing="resting"), 8)
        self.assertEqual(self.value(metrics, "event_loop_lag_seconds_bucket", le="0.0025"), 0)
        self.assertEqual(self.value(metrics, "event_loop_lag_seconds_bucket", le="0.005"), 1)
        gauges = ("runs_running", "runs_waiting", "http_connections", "websocket_connections")
        self.assertEqual([self.value(metrics, name) for name in gauges], [1, 2, 3, 4])

    def test_a_run_without_an_answer_has_no_first_token(self) -> None:
        metrics = Metrics(agents=[], versions={})
        metrics.run_ended(Ended(status="failed", first_token_seconds=None))
        self.assertEqual(self.value(metrics, "time_to_first_token_seconds_count"), 0)

    def test_the_ends_of_runs_are_there_before_the_first_run(self) -> None:
        metrics = Metrics(agents=["a", "b"], versions={})
        for agent in ("a", "b"):
            for status in ("finished", "failed", "cancelled"):
                self.assertEqual(self.value(metrics, "runs_total", agent=agent, status=status), 0)

    def test_an_agent_that_came_later_is_counted_too(self) -> None:
        metrics = Metrics(agents=["a"], versions={})
        metrics.run_ended(Ended(agent_id="later"))
        self.assertEqual(self.value(metrics, "runs_total", agent="later", status="finished"), 1)


class DocumentedTests(SynchronousTestCase):
    """The page and the registry have the same families, types and labels."""

    def test_families(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        documented = {row["name"]: (row["type"], labels_of(row["labels"])) for row in ROW.finditer(text)}
        shown = {
            told_name(family): (told_type(family), shown_labels(family))
            for family in full().registry.collect()
        }
        if "process_cpu_seconds_total" not in shown:  # not on Linux
            documented = {name: row for name, row in documented.items() if not name.startswith("process_")}
        self.maxDiff = None
        self.assertEqual(documented, shown)


def labels_of(cell: str) -> set[str]:
    """Return the labels of a row: what stands before a colon; the values of the last one come after it."""
    return set(re.findall(r"`(\w+)`", cell.partition(":")[0]))


def shown_labels(family: Metric) -> set[str]:
    """Return the labels that a family's samples carry."""
    return {name for sample in family.samples for name in sample.labels} - {"le"}


def told_type(family: Metric) -> str:
    """Return the type in the words of Prometheus' text, which has no infos."""
    return "gauge" if family.type == "info" else family.type


def told_name(family: Metric) -> str:
    """Return the name as Prometheus' text has it."""
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
