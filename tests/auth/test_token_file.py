from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.auth.token_file import load_or_create_token
from openclaw_twisted.errors import ConfigError, StateDirectoryError

PROGRAM = """
import sys
from pathlib import Path
from openclaw_twisted.auth.token_file import load_or_create_token
print("ready", flush=True)
sys.stdin.readline()
made = load_or_create_token(Path(sys.argv[1]))
print(made.token.reveal(), made.created)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TokenFileTests(SynchronousTestCase):
    def setUp(self):
        self.state = Path(self.mktemp()).resolve() / "state"

    def test_the_first_start_makes_it_and_the_second_finds_it(self):
        first = load_or_create_token(self.state)
        second = load_or_create_token(self.state)
        self.assertTrue(first.created)
        self.assertFalse(second.created)
        self.assertEqual(first.token, second.token)
        self.assertEqual(first.path, self.state / "credentials" / "gateway-token")
        self.assertGreaterEqual(len(first.token.reveal()), 43)
        self.assertNotIn(first.token.reveal(), repr(first))

    def test_nobody_else_can_read_it_whatever_the_umask(self):
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        with capturedLogs() as events:
            made = load_or_create_token(self.state)
        self.assertEqual(events, [])  # it was never open, not even for a moment
        modes = [mode(path) for path in (made.path, made.path.parent, self.state)]
        self.assertEqual(modes, [0o600, 0o700, 0o700])
        self.assertEqual([path.name for path in made.path.parent.iterdir()], ["gateway-token"])

    def test_wider_permissions_are_tightened_and_said(self):
        made = load_or_create_token(self.state)
        made.path.chmod(0o644)
        made.path.parent.chmod(0o755)
        with capturedLogs() as events:
            again = load_or_create_token(self.state)
        self.assertEqual(again.token, made.token)
        self.assertEqual([mode(path) for path in (made.path, made.path.parent)], [0o600, 0o700])
        self.assertEqual({event["path"] for event in events}, {str(made.path), str(made.path.parent)})
        self.assertNotIn(made.token.reveal(), repr(events))

    def test_a_link_is_refused_and_what_it_points_to_is_left_alone(self):
        target = self.state / "other"
        folder = self.state / "credentials"
        folder.mkdir(parents=True, mode=0o700)
        target.write_text("x" * 43)
        target.chmod(0o644)
        for destination in (target, self.state / "missing"):
            (folder / "gateway-token").symlink_to(destination)
            error = self.assertRaises(ConfigError, load_or_create_token, self.state)
            self.assertIn("symbolic link", error.message)
            (folder / "gateway-token").unlink()
        self.assertEqual(mode(target), 0o644)
        self.assertFalse((self.state / "missing").exists())

    def test_a_linked_folder_is_refused(self):
        elsewhere = self.state / "elsewhere"
        elsewhere.mkdir(parents=True)
        (self.state / "credentials").symlink_to(elsewhere)
        self.assertRaises(ConfigError, load_or_create_token, self.state)
        self.assertEqual(list(elsewhere.iterdir()), [])

    def test_what_is_no_file_or_holds_no_token_is_refused(self):
        path = load_or_create_token(self.state).path
        path.unlink()
        os.mkfifo(path)
        self.assertIn(
            "no ordinary file", self.assertRaises(ConfigError, load_or_create_token, self.state).message
        )
        path.unlink()
        path.mkdir()
        self.assertIn(
            "no ordinary file", self.assertRaises(ConfigError, load_or_create_token, self.state).message
        )
        path.rmdir()
        for content in (b"", b"short", b"\xff" * 43, b"a" * 40 + b"\x00" * 8):
            path.write_bytes(content)
            error = self.assertRaises(ConfigError, load_or_create_token, self.state)
            self.assertIn("holds no token", error.message)

    def test_a_state_directory_that_is_a_file_is_refused(self):
        self.state.parent.mkdir(parents=True, exist_ok=True)
        self.state.write_text("")
        error = self.assertRaises(ConfigError, load_or_create_token, self.state)
        self.assertIn(str(self.state), error.message)

    def test_a_disk_that_does_not_take_it_is_no_fault_of_the_configuration(self):
        state = self.state / ("x" * 300)
        error = self.assertRaises(StateDirectoryError, load_or_create_token, state)
        self.assertIn("File name too long. Check its owner, its permissions and its disk.", error.message)

    def test_threads_that_start_at_once_agree(self):
        for attempt in range(20):
            state, barrier = self.state / str(attempt), Barrier(8)

            def start(state: Path = state, barrier: Barrier = barrier) -> tuple[str, bool]:
                barrier.wait(10)
                made = load_or_create_token(state)
                return made.token.reveal(), made.created

            with ThreadPoolExecutor(8) as pool:
                results = [future.result() for future in [pool.submit(start) for _ in range(8)]]
            self.assertEqual(len({token for token, _ in results}), 1)
            self.assertEqual(sum(created for _, created in results), 1)
            self.assertEqual(len(list((state / "credentials").iterdir())), 1)

    def test_processes_that_start_at_once_agree(self):
        command = [sys.executable, "-c", PROGRAM, str(self.state)]
        starts = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        for process in starts:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
        for process in starts:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=30)[0].split() for process in starts]
        self.assertEqual(len({token for token, _ in answers}), 1)
        self.assertEqual(sorted(created for _, created in answers), ["False", "False", "True"])
