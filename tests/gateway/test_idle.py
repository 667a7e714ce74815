"""What a gateway holds that nobody has asked for anything yet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

CONFIGURATION = {
    "gateway": {
        "auth": {"token": "only-for-this-test-2a7f91c4"},
        "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
    },
    "models": {
        "providers": {"one": {"baseUrl": "http://127.0.0.1:9/v1", "models": [{"id": "it", "name": "it"}]}}
    },
}

MODULES_OF_A_NEW_GATEWAY = """
import json, sys
from openclaw_twisted.tap import Options, makeService
options = Options()
options.parseOptions(sys.argv[1:])
makeService(options)
print(json.dumps(sorted(sys.modules)))
"""


class LoadedTests(SynchronousTestCase):
    def test_what_few_use_waits_until_somebody_does(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        config = folder / "openclaw.json"
        config.write_text(json.dumps(CONFIGURATION))
        config.chmod(0o600)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                MODULES_OF_A_NEW_GATEWAY,
                "--config",
                config,
                "--state-dir",
                folder / "state",
            ],
            env={"PYTHONPATH": ":".join(sys.path), "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = json.loads(done.stdout)
        self.assertIn("openclaw_twisted.http.chat_completions", loaded)
        waiting = (
            "autobahn",
            "automat",
            "json5",
            "openclaw_twisted.cli",
            "openclaw_twisted.http.embeddings",
            "openclaw_twisted.http.openapi",
            "openclaw_twisted.http.responses",
            "openclaw_twisted.providers.anthropic_",
            "openclaw_twisted.providers.bert_gguf",
            "openclaw_twisted.providers.embedded",
            "openclaw_twisted.providers.local_embeddings",
            "openclaw_twisted.providers.local_process",
            "openclaw_twisted.providers.weight_sources",
            "openclaw_twisted.ws.connect",
            "openclaw_twisted.ws.door",
            "openclaw_twisted.ws.methods",
            "openclaw_twisted.ws.session_payloads",
            "treq",
        )
        self.assertEqual([], [name for name in loaded if name.startswith(waiting)])
