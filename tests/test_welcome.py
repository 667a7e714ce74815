from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import ChatCompletionsSettings, EndpointsSettings
from openclaw_twisted.welcome import welcome

__all__ = ["WelcomeTests"]


class WelcomeTests(SynchronousTestCase):
    def said(
        self, config: Path | None, *, scheme: str = "http", endpoints: EndpointsSettings | None = None
    ) -> str:
        return welcome(
            base_url=f"{scheme}://127.0.0.1:18789",
            auth_mode="token",
            token_file=Path("/state/token"),
            config=config,
            endpoints=endpoints or EndpointsSettings(),
        )

    def test_what_switches_the_api_on(self) -> None:
        self.assertIn("`openclaw-gateway init` writes a configuration that", self.said(None))
        self.assertIn("chatCompletions.enabled switches it on", self.said(Path("/state/openclaw.json")))

    def test_the_line_to_paste_works_with_a_certificate_for_another_name(self) -> None:
        on = EndpointsSettings(chat_completions=ChatCompletionsSettings(enabled=True))
        self.assertIn("\ncurl -sS http://127.0.0.1:18789/v1/chat", self.said(None, endpoints=on))
        self.assertIn(
            "\ncurl -sSk https://127.0.0.1:18789/v1/chat", self.said(None, scheme="https", endpoints=on)
        )
