"""GET /metrics: the gateway's numbers, in the format that Prometheus reads."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from openclaw_twisted.http.endpoint import Call, Reply

__all__ = ["Scrape"]


@dataclass(frozen=True)
class Scrape:
    """Shows what is in `registry`."""

    registry: CollectorRegistry

    async def __call__(self, call: Call) -> Reply:
        """Answer in the version of the format that the caller accepts, at least in Prometheus' text."""
        try:
            encode, content_type = choose_encoder(call.header("accept") or "")
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = choose_encoder("")
        return Reply(
            body=encode(self.registry), content_type=content_type, headers={"cache-control": "no-store"}
        )
