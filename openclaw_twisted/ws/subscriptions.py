"""What connections want to hear about sessions, beside what everybody hears.

Each connection has its `Subscriptions`; `Following` is the same the other way round: who follows what, so
that a change that nobody follows costs nothing, however many are connected.
"""

from __future__ import annotations

from collections.abc import Collection

from openclaw_twisted.errors import InvalidRequestError

__all__ = ["MAX_FOLLOWED", "Following", "Subscriptions"]

MAX_FOLLOWED = 1000

_NOTHING: frozenset[str] = frozenset()


class Subscriptions:
    """Whether a client follows the list of sessions, and whose messages; keys are whole session keys."""

    def __init__(self) -> None:
        self.sessions = False
        self._messages = _NOTHING  # most follow nothing
        self._following: Following | None = None

    def join(self, following: Following) -> None:
        """Have what is followed known from now on."""
        self._following = following

    def follow_sessions(self) -> None:
        """Tell this client of every change of the list of sessions."""
        self.sessions = True
        if self._following is not None:
            self._following.sessions.add(self)

    def leave_sessions(self) -> None:
        """Stop that."""
        self.sessions = False
        if self._following is not None:
            self._following.sessions.discard(self)

    def follow_messages(self, session_key: str) -> None:
        """Tell this client of a session's messages; raises `InvalidRequestError` when it follows too many."""
        if len(self._messages) >= MAX_FOLLOWED and session_key not in self._messages:
            raise InvalidRequestError(
                f"This connection follows the messages of {MAX_FOLLOWED} sessions already. Leave some first."
            )
        self._messages = self._messages | {session_key}
        if self._following is not None:
            self._following.add(session_key, self)

    def leave_messages(self, session_key: str) -> None:
        """Stop that."""
        self._messages = self._messages - {session_key}
        if self._following is not None:
            self._following.discard(session_key, self)

    def follows_messages(self, session_key: str) -> bool:
        """Tell whether a session's messages are to be told."""
        return session_key in self._messages

    def leave(self) -> None:
        """Follow nothing any more: the client is gone."""
        self.leave_sessions()
        for session_key in tuple(self._messages):
            self.leave_messages(session_key)


class Following:
    """Who follows the list of sessions, and whose messages.

    `told` is how far those who follow a session's messages have been told of them: the session's id, and the
    number of the last message. It is forgotten when nobody follows them any more.
    """

    def __init__(self) -> None:
        self.sessions: set[Subscriptions] = set()
        self.told: dict[str, tuple[str, int]] = {}
        self._messages: dict[str, set[Subscriptions]] = {}

    def messages(self, session_key: str) -> Collection[Subscriptions]:
        """Return who follows a session's messages."""
        return self._messages.get(session_key, ())

    def add(self, session_key: str, subscriptions: Subscriptions) -> None:
        """Note that somebody follows a session's messages."""
        self._messages.setdefault(session_key, set()).add(subscriptions)

    def discard(self, session_key: str, subscriptions: Subscriptions) -> None:
        """Note that somebody does not any more."""
        followers = self._messages.get(session_key)
        if followers is not None:
            followers.discard(subscriptions)
            if not followers:
                del self._messages[session_key]
                self.told.pop(session_key, None)
