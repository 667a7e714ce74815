"""How the turns of a dialogue are told: as text while it comes, as events, or all at once at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from openclaw_twisted.cli.document import error_document, event_line, result_line
from openclaw_twisted.cli.ending import CommandError, TimedOutError
from openclaw_twisted.cli.question import Reply
from openclaw_twisted.errors import GatewayError

__all__ = ["Kept", "Spoken", "Streamed", "Turn", "Voice"]


class Voice(Protocol):
    """Hears one turn after the other: each begins, is heard, and then ends, is stopped, or fails.

    A run that ends without success is first told by `ended`, as its gateway did, and then has `failed`.
    """

    def begin(self, message: str) -> None:
        """Hear what the user said."""
        ...

    def heard(self, name: str, payload: bytes) -> None:
        """Hear an event of the run."""
        ...

    def ended(self, payload: bytes, reply: Reply) -> None:
        """Hear how the run ended."""
        ...

    def stopped(self) -> None:
        """Hear that the user stopped the run."""
        ...

    def failed(self, error: CommandError) -> None:
        """Hear what went wrong."""
        ...


class Spoken:
    """Replies as text, while it comes; `write` writes it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown = ""

    def begin(self, message: str) -> None:
        """Begin with nothing."""
        self._shown = ""

    def heard(self, name: str, payload: bytes) -> None:
        """Write what an event tells of the reply."""
        if name == "chat":
            self._show(_said(payload))

    def ended(self, payload: bytes, reply: Reply) -> None:
        """Write what is left of the reply."""
        self._show(reply.text if reply.succeeded else "")
        self._end_line()

    def stopped(self) -> None:
        """Leave what is there."""
        self._end_line()

    def failed(self, error: CommandError) -> None:
        """Leave what is there: the error is told elsewhere."""
        self._end_line()

    def _show(self, text: str) -> None:
        shown = self._shown
        if shown.startswith(text):
            return
        # What does not begin as before takes back what was said: it is said anew.
        self._write(text[len(shown) :] if text.startswith(shown) else f"\n{text}")
        self._shown = text

    def _end_line(self) -> None:
        if self._shown and not self._shown.endswith("\n"):
            self._write("\n")
        self._shown = ""


class Streamed:
    """A JSON document for each event, and one for how each run ended; `write` writes them."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._told = False

    def begin(self, message: str) -> None:
        """Begin a run."""
        self._told = False

    def heard(self, name: str, payload: bytes) -> None:
        """Write an event."""
        self._line(event_line(name, payload))

    def ended(self, payload: bytes, reply: Reply) -> None:
        """Write the result."""
        self._told = True
        self._line(result_line(payload))

    def stopped(self) -> None:
        """Write that the run was stopped."""
        self._line(result_line(b'{"status":"timeout","summary":"aborted"}'))

    def failed(self, error: CommandError) -> None:
        """Write what went wrong, unless the result has said it."""
        if not self._told:
            self._line(result_line(error_document(error)))

    def _line(self, line: bytes) -> None:
        self._write(f"{line.decode()}\n")


class Turn(Struct, frozen=True, kw_only=True):
    """What was said, how its run ended (`ok`, `stopped`, `timeout`, `error`), and the reply or the reason."""

    message: str
    status: str
    text: str


class _Document(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    status: str
    summary: str = ""
    session_key: str | None = None
    turns: tuple[Turn, ...]


class Kept:
    """Everything that was said, for one document at the end."""

    def __init__(self) -> None:
        self.session_key: str | None = None
        self._message = ""
        self._turns: list[Turn] = []

    def begin(self, message: str) -> None:
        """Keep what the user says."""
        self._message = message

    def heard(self, name: str, payload: bytes) -> None:
        """Wait for the whole reply."""

    def ended(self, payload: bytes, reply: Reply) -> None:
        """Keep the reply."""
        if reply.succeeded:
            self._keep("ok", reply.text)

    def stopped(self) -> None:
        """Keep that there is none."""
        self._keep("stopped", "")

    def failed(self, error: CommandError) -> None:
        """Keep why there is none."""
        self._keep(_status(error), error.message)

    def document(self, error: GatewayError | None) -> bytes:
        """Return the document; `error` is what ended the dialogue."""
        return msgspec.json.encode(
            _Document(
                status="ok" if error is None else _status(error),
                summary="" if error is None else error.message,
                session_key=self.session_key,
                turns=tuple(self._turns),
            )
        )

    def _keep(self, status: str, text: str) -> None:
        self._turns.append(Turn(message=self._message, status=status, text=text))


def _status(error: GatewayError) -> str:
    return "timeout" if isinstance(error, TimedOutError) else "error"


class _Block(Struct, frozen=True):
    text: str | None = None


class _Message(Struct, frozen=True):
    content: tuple[_Block, ...] | str = ()


class _Event(Struct, frozen=True):
    state: str = ""
    message: _Message | None = None


def _said(payload: bytes) -> str:
    """Return the reply so far that an event tells, or nothing if it tells something else."""
    try:
        event = msgspec.json.decode(payload, type=_Event)
    except msgspec.DecodeError:
        return ""
    if event.state not in {"delta", "final"} or event.message is None:
        return ""
    content = event.message.content
    return content if isinstance(content, str) else "".join(block.text or "" for block in content)


_spoken: type[Voice] = Spoken
_streamed: type[Voice] = Streamed
_kept: type[Voice] = Kept
