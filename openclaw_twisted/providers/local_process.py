"""One run of the local model's process: started, listened to until it is ready, stopped without leaving it.

The process ends when its standard input does, so it cannot outlive this one, however that ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import msgspec
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from openclaw_twisted.config.settings import LocalModelSettings
from openclaw_twisted.providers import local_server
from openclaw_twisted.providers.weights import Weights

__all__ = ["Engine", "LocalProcess", "Owner", "embedding_engine", "llama_engine"]

TERMINATE_SECONDS = 0.5
PROMPT_CACHE_MIB = 256
# Short texts are computed side by side; so many are the fastest that was measured.
EMBEDDINGS_AT_A_TIME = 32
MAX_LINE_BYTES = 16 * 1024
MAX_QUOTED_CHARACTERS = 300

_VARIABLES = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR"})
_PREFIXES = ("CUDA_", "GGML_", "LC_", "OMP_")
_LOG_LINE = re.compile(r"[\d.]+ (?P<level>[A-Z]) (?P<message>.+)")


class Owner(Protocol):
    """Who is told what becomes of the process."""

    def ready(self, url: str) -> None:
        """Hear that the model answers at `url`; called at most once."""
        ...

    def died(self, words: str) -> None:
        """Hear how the process ended, in words; called once."""
        ...


class LocalProcess(ProcessProtocol):
    """A process that has been started and not yet ended."""

    transport: IProcessTransport

    def __init__(self, reactor: Any, owner: Owner) -> None:
        self._reactor = reactor
        self._owner = owner
        self._stdout = b""
        self._stderr = b""
        self._log_error = ""
        self._last_word = ""
        self._announced = False
        self._killing: IDelayedCall | None = None

    def stop(self) -> None:
        """Ask the process to end now, and end it if it does not; its owner hears of it."""
        if self._killing is None:
            self._signal("TERM")
            self._killing = self._reactor.callLater(TERMINATE_SECONDS, self._signal, "KILL")

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        """Look for the one line that says ready."""
        if self._announced:
            return
        line, newline, _ = (self._stdout + data).partition(b"\n")
        self._stdout = line[-MAX_LINE_BYTES:]
        if newline:
            self._announced = True
            self._owner.ready(json.loads(line)["url"])

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        """Remember what goes wrong while the model loads, and nothing later: that may hold what was said."""
        if self._announced:
            return
        *lines, rest = (self._stderr + data).split(b"\n")
        self._stderr = rest[-MAX_LINE_BYTES:]
        for line in lines:
            self._note(line)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        """Tell the owner."""
        if self._killing is not None and self._killing.active():
            self._killing.cancel()
        words = _exit_words(reason)
        if not self._announced:
            self._note(self._stderr)
            words = ": ".join(filter(None, (words, self._log_error or self._last_word)))
        self._owner.died(words[:MAX_QUOTED_CHARACTERS])

    def _note(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        logged = _LOG_LINE.fullmatch(text)
        if logged is None:
            self._last_word = text or self._last_word
        elif logged["level"] == "E":  # the first is the cause, the others are its consequences
            self._log_error = self._log_error or logged["message"]

    def _signal(self, name: str) -> None:
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:  # and processEnded is about to be called
            return


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What serves a model's file: a command, its environment, and whether it can be had."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    installed: Callable[[], bool]


def llama_engine(weights: Weights, settings: LocalModelSettings, environ: Mapping[str, str]) -> Engine:
    """Return llama.cpp in a process of its own, from the `local` extra, chatting with one file."""
    template = weights.known.template if weights.known else None
    options = (
        *("--context", settings.context_tokens, "--parallel", settings.parallel),
        *("--threads", settings.threads or _cpus(), "--cache-mib", PROMPT_CACHE_MIB),
        *(("--template", Path(__file__).with_name(template)) if template else ()),
    )
    return _engine(weights, options, environ)


def embedding_engine(weights: Weights, settings: LocalModelSettings, environ: Mapping[str, str]) -> Engine:
    """Return llama.cpp as above, embedding texts with a model that we know."""
    assert weights.known is not None
    assert weights.known.embedding is not None
    options = (
        *("--context", weights.known.embedding.max_tokens, "--parallel", EMBEDDINGS_AT_A_TIME),
        *("--threads", settings.threads or _cpus(), "--cache-mib", 0, "--embedding"),
    )
    return _engine(weights, options, environ)


def _engine(weights: Weights, options: Sequence[object], environ: Mapping[str, str]) -> Engine:
    # `-P` and the script's own path keep the working directory and this package out of its imports.
    script = (sys.executable, "-P", local_server.__file__)
    argv = (*script, weights.path, "--alias", weights.name, *options)
    return Engine(
        command=tuple(str(argument) for argument in argv),
        environ=_environ(environ),
        installed=lambda: find_spec("xllamacpp") is not None,
    )


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Keep what the engine needs, and none of the gateway's secrets.

    OpenMP's threads spin while they wait unless told otherwise, and on a busy machine an answer then takes
    ten times as long; the library reads this variable when it is loaded.
    """
    kept = {
        name: value for name, value in environ.items() if name in _VARIABLES or name.startswith(_PREFIXES)
    }
    return {"OMP_WAIT_POLICY": "passive", **kept}


def _cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _exit_words(reason: Failure) -> str:
    end = reason.value
    if isinstance(end, ProcessTerminated) and end.signal is not None:
        hint = " (out of memory?)" if end.signal == signal.SIGKILL else ""
        return f"it was ended by signal {end.signal}{hint}"
    return f"it ended with status {getattr(end, 'exitCode', 0)}"
