from __future__ import annotations

import click
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.cli.ending import FAILED, INTERRUPTED, ending

__all__ = ["EndingTests"]


class EndingTests(SynchronousTestCase):
    def code_after(self, answer: type[BaseException]) -> object:
        """Return the exit code of a command whose question is answered so; click makes them one error."""
        with self.assertRaises(SystemExit) as caught, ending():
            try:
                raise answer
            except answer:
                raise click.Abort from None
        return caught.exception.code

    def test_ctrl_c_and_ctrl_d_at_a_question(self) -> None:
        self.assertEqual(INTERRUPTED, self.code_after(KeyboardInterrupt))
        self.assertEqual(FAILED, self.code_after(EOFError))
