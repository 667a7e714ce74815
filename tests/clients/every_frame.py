"""Every frame that the suite's WebSocket clients hear fits OpenClaw's published schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.in_node import installed
from tests.clients.schema import problems
from tests.ws.record import FRAMES_FILE

__all__ = ["EveryFrameTests"]

SUITE = ("tests.ws", "tests.gateway.test_control_plane")
SUITE_SECONDS = 300.0
PROGRAM = Path(__file__).resolve().parent.parent / "__main__.py"
LEAST = {3: 100, 4: 1000}
"""How many frames of each protocol have to be among them; otherwise the record has a hole."""


class EveryFrameTests(SynchronousTestCase):
    def test_every_frame_of_the_suite(self) -> None:
        installed()  # before the suite runs in vain
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        program = [str(PROGRAM), "--installed"] if "--installed" in sys.argv else ["-m", "tests"]
        places = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), FRAMES_FILE: str(path.absolute())}
        ran = subprocess.run(
            [sys.executable, *program, *SUITE],
            env={**os.environ, **places},  # noqa: TID251 - all that this process has, and these
            cwd=path.parent,
            timeout=SUITE_SECONDS,
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, ran.returncode, (ran.stdout + ran.stderr)[-2000:])
        frames: Counter[int | None] = Counter()
        wrong: Counter[str] = Counter()
        with path.open(encoding="utf-8") as lines:
            for line in dict.fromkeys(lines):
                protocol, method, frame = json.loads(line)
                frames[protocol] += 1
                wrong.update(
                    f"{method or frame.get('event')}: {it}" for it in problems(protocol, method, frame)
                )
        self.assertEqual({}, dict(wrong.most_common(20)))
        for protocol, least in LEAST.items():
            self.assertGreaterEqual(frames[protocol], least)
