"""Work in threads and programs: its results, and that cancelling waits until it is over."""

from __future__ import annotations

import sys
import threading

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from openclaw_twisted.providers.errands import Exit, in_thread, run_program
from openclaw_twisted.testing import real_reactor


class ThreadTests(TestCase):
    timeout = 10

    async def test_the_result_comes_back(self) -> None:
        reactor = real_reactor()
        self.assertEqual(await in_thread(reactor, divmod, 7, 3), (2, 1))
        self.assertNotEqual(await in_thread(reactor, threading.get_ident), threading.get_ident())

    async def test_an_error_comes_back(self) -> None:
        work = Deferred.fromCoroutine(in_thread(real_reactor(), divmod, 1, 0))
        await self.assertFailure(work, ZeroDivisionError)

    async def test_cancelling_waits_for_the_thread(self) -> None:
        release, over = threading.Event(), threading.Event()

        def work() -> None:
            release.wait()
            over.set()

        waiting = Deferred.fromCoroutine(in_thread(real_reactor(), work))
        ended: list[bool] = []

        def note_end(failure: Failure) -> None:
            failure.trap(CancelledError)
            ended.append(over.is_set())

        waiting.addErrback(note_end)
        waiting.cancel()
        await deferLater(real_reactor(), 0)
        self.assertEqual(ended, [])
        release.set()
        await waiting
        self.assertEqual(ended, [True])


class ProgramTests(TestCase):
    timeout = 10

    async def test_the_exit_and_the_last_words(self) -> None:
        script = "import os, sys; sys.stderr.write(os.environ['WORD'] + sys.stdin.read()); sys.exit(3)"
        exit_ = await run_program(real_reactor(), [sys.executable, "-c", script], {"WORD": "well"})
        self.assertEqual(exit_, Exit(3, "well"))

    async def test_a_signal_is_negative(self) -> None:
        script = "import os; os.kill(os.getpid(), 9)"
        exit_ = await run_program(real_reactor(), [sys.executable, "-c", script], {})
        self.assertEqual(exit_.status, -9)

    async def test_cancelling_kills_it(self) -> None:
        running = Deferred.fromCoroutine(run_program(real_reactor(), ["/bin/sleep", "600"], {}))
        running.cancel()
        await self.assertFailure(running, CancelledError)
