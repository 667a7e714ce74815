from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import EndpointsSettings
from openclaw_twisted.welcome import welcome

__all__ = ["WelcomeTests"]


class WelcomeTests(SynchronousTestCase):
    def said(self, config: Path | None) -> str:
        return welcome(
            base_url="http://127.0.0.1:18789",
            auth_mode="token",
            token_file=Path("/state/token"),
            config=config,
            endpoints=EndpointsSettings(),
        )

    def test_what_switches_the_api_on(self) -> None:
        self.assertIn("`openclaw-gateway init` writes a configuration that", self.said(None))
        self.assertIn("chatCompletions.enabled switches it on", self.said(Path("/state/openclaw.json")))
