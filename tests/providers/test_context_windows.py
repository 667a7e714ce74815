from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import (
    LocalModelSettings,
    ModelSettings,
    ModelsSettings,
    ProviderSettings,
)
from openclaw_twisted.providers.context_windows import UNKNOWN_TOKENS, ContextWindows


class ContextWindowsTests(SynchronousTestCase):
    def test_the_settings_tell_how_much_a_model_takes(self) -> None:
        listed = (
            ModelSettings(id="a", context_window=1000),
            ModelSettings(id="b/c", context_tokens=500),
            ModelSettings(id="d", context_window=1000, context_tokens=800),
            ModelSettings(id="e", context_window=600, context_tokens=800),
            ModelSettings(id="f"),
        )
        windows = ContextWindows(
            ModelsSettings(
                providers={"p": ProviderSettings(models=listed)},
                local=LocalModelSettings(context_tokens=4096),
            )
        )
        names = ("p/a", "p/b/c", "p/d", "p/e", "p/f", "q/a", "a", "local/anything")
        self.assertEqual(
            [windows(name) for name in names],
            [1000, 500, 800, 600, UNKNOWN_TOKENS, UNKNOWN_TOKENS, UNKNOWN_TOKENS, 4096],
        )
