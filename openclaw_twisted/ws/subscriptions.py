"""What one connection wants to hear about sessions, beside what everybody hears."""

from __future__ import annotations

from openclaw_twisted.errors import InvalidRequestError

__all__ = ["MAX_FOLLOWED", "Subscriptions"]

MAX_FOLLOWED = 1000


class Subscriptions:
    """Whether a client follows the list of sessions, and whose messages; keys are whole session keys."""

    def __init__(self) -> None:
        self.sessions = False
        self._messages: set[str] = set()

    def follow_sessions(self) -> None:
        """Tell this client of every change of the list of sessions."""
        self.sessions = True

    def leave_sessions(self) -> None:
        """Stop that."""
        self.sessions = False

    def follow_messages(self, session_key: str) -> None:
        """Tell this client of a session's messages; raises `InvalidRequestError` when it follows too many."""
        if len(self._messages) >= MAX_FOLLOWED and session_key not in self._messages:
            raise InvalidRequestError(
                f"This connection follows the messages of {MAX_FOLLOWED} sessions already. Leave some first."
            )
        self._messages.add(session_key)

    def leave_messages(self, session_key: str) -> None:
        """Stop that."""
        self._messages.discard(session_key)

    def follows_messages(self, session_key: str) -> bool:
        """Tell whether a session's messages are to be told."""
        return session_key in self._messages
