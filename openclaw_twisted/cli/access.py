"""The options of every command that asks a gateway: which one, with which secret, for how long."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from openclaw_twisted.cli.target import Flags

__all__ = ["ANSWER_SECONDS", "EXIT_CODES", "Access", "asks_gateway"]

ANSWER_SECONDS = 30.0
EXIT_CODES = "Ends with 0 when all is well, 1 on an error, 2 when time ran out, 130 on Ctrl-C."

_Command = Callable[..., None]


class Access(NamedTuple):
    """What a command line says about gateway and answer; without `timeout_seconds` there is no limit."""

    url: str | None = None
    token: str | None = None
    password: str | None = None
    config: Path | None = None
    timeout_seconds: float | None = None
    as_json: bool = False

    @property
    def flags(self) -> Flags:
        """Which gateway is meant, as far as the command line tells."""
        from openclaw_twisted.cli.target import Flags

        return Flags(self.url, self.token, self.password, self.config)


def _finite(_context: click.Context, _option: click.Parameter, seconds: float | None) -> float | None:
    """Refuse what reads as a number and is none: `nan`, and `inf`."""
    if seconds is not None and not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} is not a number of seconds.")
    return seconds


def _check_text(values: Iterable[object]) -> None:
    """Refuse text whose bytes are none in the locale's encoding: it could not be sent, nor be told."""
    for value in values:
        if not isinstance(value, str):
            continue
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise click.UsageError(
                f"{os.fsencode(value)[:80]!r} is no text in the locale's encoding. Write it in UTF-8, under "
                "a locale like C.UTF-8."
            ) from None


def asks_gateway(
    *,
    timeout_help: str = "How long to wait for the answer.",
    timeout_seconds: float | None = ANSWER_SECONDS,
    json_help: str = "Print the gateway's answer, one JSON document.",
) -> Callable[[_Command], _Command]:
    """Give a command these options; it gets what they say as its first argument."""
    options = (
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            callback=_finite,
            default=timeout_seconds,
            show_default=timeout_seconds is not None,
            metavar="SECONDS",
            help=timeout_help,
        ),
        click.option("--json", "as_json", is_flag=True, help=json_help),
        click.option("--url", metavar="URL", help="The gateway: ws://HOST:PORT or wss://HOST."),
        click.option(
            "--token", metavar="TOKEN", help="Its token; OPENCLAW_GATEWAY_TOKEN keeps it out of `ps`."
        ),
        click.option("--password", metavar="PASSWORD", help="Its password, if it asks for one instead."),
        click.option(
            "--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration file."
        ),
    )

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def with_access(**given: Any) -> None:
            timeout = given.pop("timeout")
            _check_text(given.values())
            named = {field: given.pop(field) for field in Access._fields if field in given}
            command(Access(timeout_seconds=timeout, **named), **given)

        whole: _Command = with_access
        for option in reversed(options):
            whole = option(whole)
        return whole

    return decorate
