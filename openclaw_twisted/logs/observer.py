"""What listens to every log event of the process, and where it goes, as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from openclaw_twisted.config.settings import LoggingSettings
from openclaw_twisted.logs.console import Console
from openclaw_twisted.logs.file import LogFile, daily
from openclaw_twisted.logs.lines import Style, compact, json_line, pretty, redactor, text_of

__all__ = ["Journal"]

MAX_EARLIER_SECRETS = 100

_RANKS: Mapping[str, int] = {
    "trace": 0, "debug": 0, "info": 1, "warn": 2, "error": 3, "fatal": 4, "silent": 5,
}  # fmt: skip
_RANK_OF: Mapping[object, int] = {
    LogLevel.debug: 0, LogLevel.info: 1, LogLevel.warn: 2, LogLevel.error: 3, LogLevel.critical: 4,
}  # fmt: skip
_STYLES: Mapping[str, Style] = {"pretty": pretty, "compact": compact, "json": json_line}


@implementer(ILogObserver)
class Journal:
    """The log: on `console` (None when there is no terminal) and in a file, each from its own level on.

    `folder` is where the daily files are when the settings name no file; `secrets` never appear, nor do
    those of earlier settings: runs that began with them go on, and so does a provider that quotes them.
    """

    def __init__(
        self, settings: LoggingSettings, *, folder: Path, console: Console | None, secrets: Iterable[str] = ()
    ) -> None:
        self._folder = folder
        self._console = console
        self._secrets: tuple[str, ...] = ()
        self._configure(settings, secrets)

    def __call__(self, event: LogEvent) -> None:
        """Take an event."""
        rank = _RANK_OF.get(event.get("log_level"), 1)
        if rank < self._least:
            return
        text = text_of(event)
        if rank >= self._file_from:
            # Beside the text stand the event's own values, and maybe a traceback, which quotes anything.
            self._file.write(self._redact(json_line(event, text)), event.get("log_time", 0.0))
        if rank >= self._console_from and self._console is not None:
            self._console.write(self._redact(self._style(event, text)))

    def reopen(self) -> None:
        """Go on in new files if somebody has renamed the old ones."""
        self._file.close()
        if self._console is not None:
            self._console.reopen()

    def reconfigure(self, settings: LoggingSettings, secrets: Iterable[str]) -> None:
        """Go on with other settings."""
        self._file.close()
        self._configure(settings, secrets)

    def _tell_trouble(self, path: Path, error: OSError) -> None:
        if self._console is not None:
            self._console.write(f"The log file {path} cannot be written: {error.strerror}.\n")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _configure(self, settings: LoggingSettings, secrets: Iterable[str]) -> None:
        fixed = Path(settings.file).expanduser() if settings.file else None
        name: Callable[[float], Path] = (lambda _at: fixed) if fixed is not None else daily(self._folder)
        new = dict.fromkeys(secrets)
        earlier = [secret for secret in self._secrets if secret not in new]
        self._secrets = (*new, *earlier[:MAX_EARLIER_SECRETS])
        self._redact = redactor(self._secrets)
        self._file = LogFile(
            name, max_bytes=settings.max_file_bytes, tidy=fixed is None, trouble=self._tell_trouble
        )
        self._file_from = _RANKS[settings.level]
        self._console_from = _RANKS[settings.console_level or settings.level]
        self._style = _STYLES[settings.console_style]
        self._least = self._file_from if self._console is None else min(self._file_from, self._console_from)
