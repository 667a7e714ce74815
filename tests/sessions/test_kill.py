"""What was acknowledged is there after `kill -9`, once, whole and in order."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.sessions.sqlite import SqliteStore
from tests.sessions.threaded_clock import ThreadedClock

CHILD = Path(__file__).with_name("commit_forever.py")
ACKNOWLEDGED_BEFORE_KILL = (1, 10, 37, 150, 400)


class KillTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "gateway.sqlite3"

    def acknowledged(self, life: int, enough: int) -> list[list[str]]:
        """Let a process commit, kill it after `enough` acknowledgements, and return all it gave."""
        command = [sys.executable, str(CHILD), str(self.path), str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(enough)]
            child.kill()
            lines += child.stdout.readlines()
        self.assertEqual(child.returncode, -signal.SIGKILL)
        return [line.split() for line in lines if line.endswith("\n")]

    def test_nothing_acknowledged_is_lost(self):
        expected: defaultdict[str, list[str]] = defaultdict(list)
        for life, enough in enumerate(ACKNOWLEDGED_BEFORE_KILL):
            for session_key, run_id in self.acknowledged(life, enough):
                expected[session_key].append(run_id)
            self.check(expected)

    def check(self, expected: dict[str, list[str]]) -> None:
        reactor = ThreadedClock()
        store = SqliteStore(reactor, self.path)
        reactor.result_of(store.open())
        for session_key, acknowledged in expected.items():
            history = reactor.result_of(store.history(session_key, 1_000_000))
            self.assertEqual([stored.seq for stored in history], list(range(1, len(history) + 1)))
            questions = [stored.message.content for stored in history[::2]]
            self.assertEqual(len(history), 2 * len(questions))
            self.assertEqual(len(set(questions)), len(questions))
            kept = [run_id for run_id in questions if run_id in set(acknowledged)]
            self.assertEqual(kept, acknowledged)
            # At most one turn of each life was written, but not acknowledged any more.
            self.assertLessEqual(len(questions) - len(kept), len(ACKNOWLEDGED_BEFORE_KILL))
        reactor.result_of(store.close())
