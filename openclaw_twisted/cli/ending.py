"""How a command ends: its exit code, and the one line on stderr that goes with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

import click

from openclaw_twisted.cli.terminal import printable
from openclaw_twisted.errors import GatewayError

__all__ = ["FAILED", "INTERRUPTED", "TIMED_OUT", "CommandError", "TimedOutError", "ending"]

FAILED = 1
TIMED_OUT = 2
INTERRUPTED = 130


class CommandError(GatewayError):
    """A command could not do what it was asked; it is told to the user and to nobody else."""

    code = None
    exit_code: ClassVar[int] = FAILED


class TimedOutError(CommandError):
    """The time that the command was given is over."""

    exit_code = TIMED_OUT


@contextmanager
def ending() -> Iterator[None]:
    """Turn an error into a message on stderr and an exit code.

    A mistake on the command line ends with 1, not with click's 2: here 2 means that time ran out. An output
    that nobody reads any more is click's to end for, and needs no words.
    """
    try:
        yield
    except click.UsageError as error:
        error.show()
        raise SystemExit(FAILED) from error
    except GatewayError as error:
        click.echo(f"Error: {printable(error.message)}", err=True)
        raise SystemExit(error.exit_code if isinstance(error, CommandError) else FAILED) from error
    except click.Abort as error:  # a question to the user that Ctrl-C or Ctrl-D answered
        click.echo(err=True)
        interrupted = isinstance(error.__context__, KeyboardInterrupt)
        raise SystemExit(INTERRUPTED if interrupted else FAILED) from error
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up_output()
        click.echo(f"Error: {error.filename or 'The output'} cannot be used: {error.strerror}.", err=True)
        raise SystemExit(FAILED) from error


def _give_up_output() -> None:
    """Let go of what could not be written: the interpreter would try it again, and complain."""
    with suppress(OSError):
        sys.stdout.close()
