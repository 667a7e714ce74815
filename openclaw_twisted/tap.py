"""`twistd openclaw-gateway`: its options, and the service they make."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage

from openclaw_twisted import __version__
from openclaw_twisted.config.file import find, load, own_home, state_dir
from openclaw_twisted.config.parse import Loaded
from openclaw_twisted.config.secret import secrets_in
from openclaw_twisted.errors import ConfigError, NoSuchNetworkError, Problem, StateDirectoryError
from openclaw_twisted.logs.console import Console
from openclaw_twisted.logs.observer import Journal
from openclaw_twisted.name_lookups import look_names_up_apart

if TYPE_CHECKING:
    from openclaw_twisted.service import Gateway

__all__ = ["Options", "makeService", "must_be_local"]

BINDS = ("auto", "loopback", "lan", "tailnet", "custom")
_TOO_LATE = ("uid", "gid", "chroot")

_log = Logger()


class Options(usage.Options):
    """The command line after `twistd openclaw-gateway`."""

    synopsis = "[options]"
    longdesc = (
        "Serves the OpenAI Chat Completions API and OpenClaw's WebSocket on one port. "
        "Options win over environment variables, and those over the configuration file, "
        "which is --config, else $OPENCLAW_CONFIG_PATH, else openclaw.json in the state directory."
    )
    optParameters = (  # noqa: N815 - Twisted's name
        ("config", "c", None, "The configuration file, JSON5."),
        ("port", "p", None, "The TCP port for HTTP and WebSocket (gateway.port, default 18789)."),
        ("bind", "b", None, f"Which network may reach the port: {', '.join(BINDS)} (gateway.bind)."),
        ("state-dir", "s", None, "Where everything is kept ($OPENCLAW_STATE_DIR, default ~/.openclaw)."),
    )

    def opt_version(self) -> None:
        """Display the gateway's version and exit."""
        sys.stdout.write(f"openclaw-twisted {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:  # noqa: N802
        """Check what the command line alone can tell."""
        if self["port"] is not None:
            try:
                self["port"] = int(self["port"])
            except ValueError:
                raise usage.UsageError("--port takes a number.") from None
        twistd: Mapping[str, Any] = self.parent or {}
        if any(twistd.get(name) is not None for name in _TOO_LATE):
            raise usage.UsageError(
                "twistd's --uid, --gid and --chroot come too late: log and token would be another user's. "
                "Start the gateway as the user it is for (User= under systemd, setpriv or su elsewhere)."
            )

    @property
    def overrides(self) -> dict[str, object]:
        """What the command line says, by the path of the setting."""
        told = {"gateway.port": self["port"], "gateway.bind": self["bind"]}
        return {path: value for path, value in told.items() if value is not None}


def makeService(options: Options) -> IService:  # noqa: N802 - Twisted's name
    """Return the gateway; ends the process with 78, 74 or 69 when what it is to use cannot be used."""
    hung_up = _note_hangups()
    _choose_reactor()
    from twisted.internet import reactor  # noqa: TID251 - the entry point that hands it to everything else

    from openclaw_twisted.service import EXIT_CONFIG, EXIT_PORT, EXIT_STORAGE, Gateway

    _use_monotonic_time(reactor)
    look_names_up_apart(reactor)
    os.umask(0o077)  # for what twistd makes, too: its log and its pid file; --umask wins over this
    environ = dict(os.environ)  # noqa: TID251 - likewise
    home = own_home()
    state = _state(options, environ, home)
    environ["OPENCLAW_STATE_DIR"] = str(state)
    path = _config(options, environ, home)

    def read() -> Loaded:
        loaded = load(path, environ, home, overrides=options.overrides)
        must_be_local(loaded)
        return loaded

    try:
        loaded = read()
        for warning in loaded.warnings:
            _log.warn("{warning}", warning=str(warning))
        gateway = Gateway(
            reactor,
            loaded,
            state_dir=state,
            home=home,
            out=_terminal() or StringIO(),
            leave=_leave_with(reactor),
            load=read,
            journal=_journal(options.parent or {}, loaded, state / "logs"),
        )
    except ConfigError as error:
        sys.stderr.write(f"openclaw-gateway: {error}\n")
        # What may be right at the next start is told apart: a service manager gives up on a configuration.
        codes = {StateDirectoryError: EXIT_STORAGE, NoSuchNetworkError: EXIT_PORT}
        raise SystemExit(codes.get(type(error), EXIT_CONFIG)) from None
    reactor.callWhenRunning(_reload_on_hangup, reactor, gateway, hung_up)
    reactor.callWhenRunning(_settle, gateway)
    reactor.addSystemEventTrigger("before", "shutdown", _end_at_the_next_signal)
    return gateway


def _state(options: Options, environ: Mapping[str, str], home: Path) -> Path:
    """Return the state directory, absolute before twistd leaves the folder it was started in (--rundir)."""
    named = options["state-dir"]
    return (Path(named).expanduser() if named else state_dir(environ, home)).absolute()


def _config(options: Options, environ: Mapping[str, str], home: Path) -> Path | None:
    """Return the file that was named, absolute as well; None for the one that the environment tells, too."""
    named = Path(options["config"]).expanduser() if options["config"] else None
    found = find(named, environ, home)
    return named if found.is_absolute() else found.absolute()


def _settle(gateway: Gateway) -> None:
    """Once the gateway has started, return the memory that only starting took, and keep the rest for good.

    Nearly all there is stays: modules, classes, routes. To look through it again and again took the garbage
    collector 4 % of the CPU time of requests, and stopped everything else each time.
    """

    def settle(_started: object) -> None:
        gc.collect()
        gc.freeze()
        _return_free_memory()

    gateway.started().addCallback(settle)


def _return_free_memory() -> None:
    # What is freed between things that stay, glibc keeps for later: near a megabyte after the start.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _note_hangups() -> Callable[[], bool]:
    """Let SIGHUP end the process no more; return what tells whether one has come while it starts.

    For systemd that would be a clean end, after which it starts nothing again.
    """
    came: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: came.append(number))
    return lambda: bool(came)


def _reload_on_hangup(reactor: Any, gateway: Gateway, hung_up: Callable[[], bool]) -> None:
    """Read the configuration again at SIGHUP, and now if one has come already."""

    def reload() -> None:
        Deferred.fromCoroutine(gateway.reload()).addErrback(
            lambda failure: _log.failure("reading the configuration again failed", failure=failure)
        )

    signal.signal(signal.SIGHUP, lambda _number, _frame: reactor.callFromThread(reload))
    if hung_up():
        reload()


def _end_at_the_next_signal() -> None:
    """Let SIGTERM and SIGINT end the process at once: whoever asks again does not want to wait.

    Nothing is lost: the store survives that, and the local model's process ends with its pipe.
    """
    # A container's first process does not get signals that it has no handler of its own for.
    ending = _end_now if os.getpid() == 1 else signal.SIG_DFL
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending)


def _end_now(number: int, _frame: object) -> None:
    os._exit(128 + number)  # as a shell tells an end by a signal


def _journal(twistd: Mapping[str, Any], loaded: Loaded, folder: Path) -> Journal | None:
    """Return the log; None leaves it to what somebody has asked of twistd (`--syslog`, `--logger`)."""
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    name, foreground = twistd.get("logfile"), bool(twistd.get("nodaemon"))
    console: Console | None = None
    if name and name != "-":
        path = Path(name).absolute()
        console = Console(_appended(path), path)
    elif foreground and (terminal := _terminal()) is not None:
        console = Console(terminal)
    secrets = secrets_in(loaded.settings)
    return Journal(loaded.settings.logging, folder=folder, console=console, secrets=secrets)


def _appended(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        message = f"cannot be written: {error.strerror}. Name a file in a folder of this user's."
        raise ConfigError(str(path), (Problem("--logfile", message),)) from error


def _terminal() -> TextIO | None:
    """Return where people look; None when whoever started the process has closed that."""
    stream = sys.__stdout__ or sys.stdout
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")  # one letter of a path must not cost the whole message
    return stream


def must_be_local(loaded: Loaded) -> None:
    """Refuse a configuration that means another machine's gateway; raises `ConfigError`."""
    if loaded.settings.gateway.mode == "remote":
        message = 'is "remote": this machine uses the gateway of gateway.remote.url. Set it to "local".'
        raise ConfigError(str(loaded.path), (Problem("gateway.mode", message),))


def _choose_reactor() -> None:
    """Take our own reactor, unless somebody has chosen one (`--reactor`), or there is no epoll.

    It has to be done before Klein is imported, which imports the reactor.
    """
    if "twisted.internet.reactor" not in sys.modules and sys.platform == "linux":
        from twisted.internet.main import installReactor

        from openclaw_twisted.reactor import GatewayReactor

        installReactor(GatewayReactor())


def _use_monotonic_time(reactor: Any) -> None:
    # Twisted's timers follow the wall clock (https://github.com/twisted/twisted/issues/2424): a clock that is
    # set forward would fire every timeout at once, one set back would stop them all.
    reactor.seconds = time.monotonic


def _leave_with(reactor: Any) -> Any:
    def leave(code: int) -> None:
        # twistd ends with 0 whatever happened; the last thing the interpreter does says otherwise.
        atexit.register(os._exit, code)
        if reactor.running:
            reactor.stop()
        else:
            reactor.callWhenRunning(reactor.stop)

    return leave
