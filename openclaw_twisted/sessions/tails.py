"""The newest messages of the sessions in use, kept decoded: a turn reads what the last one added, no more.

The theory: a message never changes, and new ones only come behind the last. So what was read of a
conversation once is true for as long as it is that conversation, which its id tells: after a reset, or a
deletion and a new beginning, there is another one. Nobody has to say here that something was written, and
nothing is lost with it: each read begins with the session's row and asks for what lies behind the last known
message. Conversations that nobody goes on with go, the longest unused first, when all together are too large.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from openclaw_twisted.content import estimated_tokens, size_of
from openclaw_twisted.records import (
    MAX_HISTORY_CHARACTERS,
    MAX_HISTORY_MESSAGES,
    SessionRow,
    StoredMessage,
)

__all__ = ["MAX_KEPT_CHARACTERS", "Tail", "Tails"]

MAX_KEPT_CHARACTERS: Final = 8 * 1024 * 1024
_CHARACTERS_PER_TAIL: Final = 2048
_CHARACTERS_PER_MESSAGE: Final = 512
"""What a tail takes beside its messages, and a message beside its text."""


class Tail:
    """The newest messages of one conversation, the oldest first.

    `tokens` and `said` (in characters) are what they come to, `characters` is what the tail takes.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.messages: deque[StoredMessage] = deque()
        self.tokens = 0
        self.said = 0
        self.characters = _CHARACTERS_PER_TAIL
        self._costs: deque[int] = deque()

    @property
    def last_seq(self) -> int:
        """The newest message that is here."""
        return self.messages[-1].seq if self.messages else 0

    def add(self, oldest_first: Iterable[StoredMessage]) -> None:
        """Add what is newer."""
        for stored in oldest_first:
            cost = estimated_tokens(stored.message)
            self.messages.append(stored)
            self._costs.append(cost)
            self.tokens += cost
            size = size_of((stored.message,))
            self.said += size
            self.characters += size + _CHARACTERS_PER_MESSAGE

    def cut(self, archived_seq: int, max_tokens: float) -> None:
        """Drop what is archived, and what is older than it takes to reach `max_tokens`; one message stays."""
        while self.messages and (
            self.messages[0].seq <= archived_seq
            or len(self.messages) > MAX_HISTORY_MESSAGES
            or (len(self.messages) > 1 and self._is_more_than_enough(max_tokens))
        ):
            dropped = self.messages.popleft()
            self.tokens -= self._costs.popleft()
            size = size_of((dropped.message,))
            self.said -= size
            self.characters -= size + _CHARACTERS_PER_MESSAGE

    def reaches(self, archived_seq: int, max_tokens: float) -> bool:
        """Tell whether this goes back as far as a turn may want, with room for so many tokens."""
        return (
            self.tokens >= max_tokens
            or self.said >= MAX_HISTORY_CHARACTERS
            or len(self.messages) >= MAX_HISTORY_MESSAGES
            or (bool(self.messages) and self.messages[0].seq == archived_seq + 1)
        )

    def _is_more_than_enough(self, max_tokens: float) -> bool:
        """Tell whether the rest would do without the oldest message."""
        said = self.said - size_of((self.messages[0].message,))
        return said >= MAX_HISTORY_CHARACTERS or self.tokens - self._costs[0] >= max_tokens


class Tails:
    """The tails of sessions, by key."""

    def __init__(self, max_characters: int = MAX_KEPT_CHARACTERS) -> None:
        self._max_characters = max_characters
        self._characters = 0
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    def take(self, session: SessionRow) -> Tail | None:
        """Take out what is known of a session's conversation; None if that is nothing."""
        tail = self._tails.pop(session.session_key, None)
        if tail is None:
            return None
        self._characters -= tail.characters
        return tail if tail.session_id == session.session_id else None

    def keep(self, session: SessionRow, tail: Tail) -> None:
        """Keep a tail that was not there or has been taken."""
        self._tails[session.session_key] = tail
        self._characters += tail.characters
        while self._characters > self._max_characters:
            _, dropped = self._tails.popitem(last=False)
            self._characters -= dropped.characters
