"""Which models are on offer, by `models.mode`."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.parse import parse
from openclaw_twisted.errors import AgentNotFoundError, NoProviderError
from openclaw_twisted.service import Gateway
from openclaw_twisted.testing import real_reactor, run_request

__all__ = ["ModeTests"]

MINE = "providers: {mine: {baseUrl: 'http://127.0.0.1:9/v1', models: [{id: 'm'}]}}"


class ModeTests(SynchronousTestCase):
    """`replace` leaves what is configured, and the local model only if it is."""

    def gateway(self, models: str) -> Gateway:
        home = Path(self.mktemp()).absolute()
        home.mkdir(parents=True)
        text = f"{{gateway: {{auth: {{token: 'a-token-for-tests-only'}}}}, models: {{{models}}}}}"
        return Gateway(
            real_reactor(), parse(text, {}), state_dir=home, home=home, out=StringIO(), leave=self.fail
        )

    def offers_local(self, gateway: Gateway) -> bool:
        """Ask for a local model that there is not; the refusal says whose it is."""
        with self.assertRaises(AgentNotFoundError) as caught:
            gateway.runner.start(run_request(models=("local/none",)))
        return "The local model is" in caught.exception.message

    def test_what_is_on_offer(self) -> None:
        for models, offered in [
            ("", True),
            (MINE, True),
            (f"mode: 'merge', {MINE}", True),
            (f"mode: 'replace', {MINE}", False),
            (f"mode: 'replace', {MINE[:-1]}, local: {{model: 'smollm2-135m'}}}}", True),
        ]:
            self.assertEqual(self.offers_local(self.gateway(models)), offered, models)

    def test_what_is_asked_by_default(self) -> None:
        for models, default in [
            ("", ("local/qwen2.5-coder-0.5b",)),
            (f"mode: 'replace', {MINE}", ("mine/m",)),
            ("mode: 'replace'", ()),
        ]:
            self.assertEqual(self.gateway(models).directory.default.candidates(), default, models)

    def test_nothing_on_offer(self) -> None:
        gateway = self.gateway("mode: 'replace'")
        with self.assertRaises(NoProviderError):
            gateway.runner.start(run_request(models=gateway.directory.default.candidates()))
