from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

__all__ = ["ForegroundTests"]

# A shell's background job, as a whole run of the tests may be, has SIGINT ignored, and so have its children.
PROGRAM = """
import signal
import sys
import time
signal.signal(signal.SIGINT, signal.default_int_handler)
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from openclaw_twisted.cli.foreground import in_foreground

async def value(reactor):
    await deferLater(reactor, 0)
    return 42

async def at_once(reactor):
    return 43

async def error(reactor):
    await deferLater(reactor, 0)
    raise LookupError("wrong")

async def wait(reactor):
    reactor.callWhenRunning(reactor.callLater, 0, print, "waiting", flush=True)
    try:
        await Deferred()
    except CancelledError:
        await deferLater(reactor, 0)
        print("cleaned up", flush=True)
        raise

async def hang(reactor):
    try:
        await wait(reactor)
    except CancelledError:
        await Deferred()

def then_wait():
    in_foreground(value)
    print("waiting", flush=True)
    time.sleep(20)

try:
    if sys.argv[1] == "then_wait":
        then_wait()
    print(in_foreground(globals()[sys.argv[1]]))
except KeyboardInterrupt:
    sys.exit(print("KeyboardInterrupt") or 1)
except LookupError as raised:
    print("raised", raised)
"""


class ForegroundTests(SynchronousTestCase):
    def start(self, job: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, job],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child

    def interrupt(self, job: str, *signals: signal.Signals) -> tuple[int, str]:
        """Start a job, send the signals one after the other, and return its exit code and last words."""
        child = self.start(job)
        assert child.stdout is not None
        for number in signals:
            said = child.stdout.readline()
            child.send_signal(number)
        said = child.stdout.read()
        return child.wait(20), said

    def test_the_result_comes_back(self) -> None:
        self.assertEqual("42\n", self.start("value").communicate(timeout=20)[0])
        self.assertEqual("43\n", self.start("at_once").communicate(timeout=20)[0])

    def test_a_signal_after_the_job_does_what_it_did_before(self) -> None:
        self.assertEqual((-signal.SIGTERM, ""), self.interrupt("then_wait", signal.SIGTERM))
        self.assertEqual((1, "KeyboardInterrupt\n"), self.interrupt("then_wait", signal.SIGINT))

    def test_an_error_comes_back(self) -> None:
        self.assertEqual("raised wrong\n", self.start("error").communicate(timeout=20)[0])

    def test_a_signal_cancels_the_job_and_lets_it_clean_up(self) -> None:
        self.assertEqual((130, "cleaned up\n"), self.interrupt("wait", signal.SIGINT))
        self.assertEqual((143, "cleaned up\n"), self.interrupt("wait", signal.SIGTERM))

    def test_the_second_one_does_not_wait(self) -> None:
        self.assertEqual((-signal.SIGINT, ""), self.interrupt("hang", signal.SIGINT, signal.SIGINT))
