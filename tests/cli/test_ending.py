from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import NoReturn

import click
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.ending import FAILED, INTERRUPTED, ending

__all__ = ["EndingTests"]


def ctrl_c() -> NoReturn:
    raise KeyboardInterrupt


def ctrl_d() -> NoReturn:
    raise EOFError


class EndingTests(SynchronousTestCase):
    def code_after(self, key: Callable[[], NoReturn]) -> object:
        """Return the exit code of a command whose question gets this key; click makes one error of them."""
        with redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as caught, ending():
            try:
                key()
            except (KeyboardInterrupt, EOFError):
                raise click.Abort from None
        return caught.exception.code

    def test_ctrl_c_and_ctrl_d_at_a_question(self) -> None:
        self.assertEqual(INTERRUPTED, self.code_after(ctrl_c))
        self.assertEqual(FAILED, self.code_after(ctrl_d))
