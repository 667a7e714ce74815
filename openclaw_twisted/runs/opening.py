"""How a turn opens: the session as it stands, afresh if it has to be, with as much of its past as fits.

What was chosen for a session, its model and how hard to think, counts for every run in it that did not
choose for itself; after that come the parameters that the settings give the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from openclaw_twisted.apart import Apart
from openclaw_twisted.boundaries import (
    Conversation,
    ModelRequest,
    SessionBus,
    SessionChange,
    SessionRow,
    SessionStore,
)
from openclaw_twisted.config.sampling import with_defaults
from openclaw_twisted.config.settings import ResetSettings
from openclaw_twisted.content import Message, estimated_tokens
from openclaw_twisted.runs.fitting import budget, fitting
from openclaw_twisted.runs.fresh import is_over, without_trigger
from openclaw_twisted.runs.request import RunRequest
from openclaw_twisted.runs.turn import compose, goes_on, new_messages

__all__ = ["CONTEXT_TOKENS", "Opened", "Opener", "SessionRules"]

CONTEXT_TOKENS: Final = 200_000
"""The context window of a model that the settings say nothing about."""


def _no_params(_agent_id: str, _model: str) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class SessionRules:
    """What the settings say about conversations.

    `context_tokens` gives the context window of a model, `params` the sampling parameters of an agent id and
    a model.
    """

    reset: ResetSettings = field(default_factory=ResetSettings)
    triggers: tuple[str, ...] = ()
    context_tokens: Callable[[str], int] = lambda _model: CONTEXT_TOKENS
    params: Callable[[str, str], Mapping[str, Any]] = _no_params


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A turn that can be asked: the question, and the past that it was put together from.

    The past comes to `past_tokens`, and there is room for `tokens` of it; `first` is the number of its first
    message in the session.
    """

    request: RunRequest
    system_prompt: str
    history: tuple[Message, ...]
    added: tuple[Message, ...]
    tokens: int
    past_tokens: int
    first: int = 0
    whole: bool = True

    def question(self) -> ModelRequest:
        """Return the question, with as much of the past as fits."""
        history = self.history
        if self.past_tokens > self.tokens or not self.whole:
            history = self._fitting()
        return compose(self.request, system_prompt=self.system_prompt, history=history, added=self._said())

    def shorter(self) -> Opened | None:
        """Return the same turn with half as much of the past; None when there is none to leave out."""
        kept = self._fitting()
        others = sum(estimated_tokens(message) for message in kept if message.role != "system")
        half = sum(map(estimated_tokens, kept)) - (others + 1) // 2
        first = self.first + len(self.history) - len(kept)
        shorter = dataclasses.replace(self, history=kept, tokens=half, first=first, whole=False)
        return shorter if len(shorter._fitting()) < len(kept) else None  # noqa: SLF001 - one of this class

    def _fitting(self) -> tuple[Message, ...]:
        return fitting(
            self.history, self.tokens, whole=self.whole, goes_on=goes_on(self._said()), first=self.first
        )

    def _said(self) -> tuple[Message, ...]:
        """Return what the request says itself; what it carries over is past, though new to its session."""
        return self.added[self.request.carried :]


class Opener:
    """Opens turns; `prompt` gives the system prompt of an agent id, `now` seconds since the epoch.

    Long ones are put together `apart`.
    """

    def __init__(  # noqa: PLR0913 - what a turn is opened with
        self,
        store: SessionStore,
        bus: SessionBus,
        rules: SessionRules,
        *,
        prompt: Callable[[str], Awaitable[str]],
        now: Callable[[], float],
        apart: Apart,
    ) -> None:
        self._apart = apart
        self._store = store
        self._bus = bus
        self._rules = rules
        self._prompt = prompt
        self._now = now

    async def read(self, request: RunRequest) -> tuple[RunRequest, Conversation]:
        """Return what a request comes to in its session as it stands, and that session's past.

        A session that is over is reset. Raises `StorageError`.
        """
        if request.session_key.stateless:
            return self._completed(request), Conversation(session=None)
        key = str(request.session_key)
        room = max(map(self._rules.context_tokens, request.models))
        found = await self._store.conversation(key, max_tokens=room)
        found = await self._afresh(request, found)
        anew = without_trigger(request, self._rules.triggers)
        chosen = _chosen(anew or request, found.session)
        larger = max(map(self._rules.context_tokens, chosen.models))
        if larger > room and found.messages and not _is_whole(found):
            found = await self._store.conversation(key, max_tokens=larger)
        return self._completed(chosen), found

    async def open(self, request: RunRequest, past: Conversation) -> tuple[Opened, ModelRequest]:
        """Put the turn and its question together from what `read` returned."""
        system_prompt = await self._prompt(request.agent_id)

        def put_together() -> tuple[Opened, ModelRequest]:
            opened = self._opened(request, past, system_prompt)
            return opened, opened.question()

        # Its past is bounded, by number and by the model's window: only what is sent may be large.
        if self._apart.is_large(request.messages):
            return await self._apart.do(put_together)
        return put_together()

    async def question(self, opened: Opened) -> ModelRequest:
        """Return the question of a turn that is asked again."""
        if self._apart.is_large(opened.request.messages):
            return await self._apart.do(opened.question)
        return opened.question()

    def _opened(self, request: RunRequest, past: Conversation, system_prompt: str) -> Opened:
        had_messages = past.session is not None and past.session.last_seq > 0
        added = new_messages(request, has_history=had_messages)
        if request.resends or request.carried:
            history = request.messages[: request.carried or len(request.messages) - len(added)]
            past_tokens, first, whole = sum(map(estimated_tokens, history)), 0, True
        else:
            history = (*past.opening, *(kept.message for kept in past.messages))
            first = past.messages[0].seq - len(past.opening) if past.messages else 0
            past_tokens, whole = past.tokens, _is_whole(past)
        tokens = 0
        if history:
            window = self._rules.context_tokens(request.models[0])
            said = added[request.carried :]
            tokens = budget(window, request, system_prompt=system_prompt, added=said)
        return Opened(
            request=request,
            system_prompt=system_prompt,
            history=history,
            added=added,
            tokens=tokens,
            past_tokens=past_tokens,
            first=first,
            whole=whole,
        )

    async def _afresh(self, request: RunRequest, found: Conversation) -> Conversation:
        """Return the conversation, or the new one that the rules or the user begin in its place."""
        session, now = found.session, self._now()
        if session is None or not session.message_count:  # as fresh as can be
            return found
        told = without_trigger(request, self._rules.triggers) is not None
        # Who appends, or brings what tools found, goes on: no rule may begin something else in its place.
        over = is_over(session, self._rules.reset, now) and not (
            request.appends or goes_on(new_messages(request, has_history=True))
        )
        if not (told or over):
            return found
        reset = await self._store.reset(session.session_key, now)
        self._bus.announce(
            SessionChange(session_key=session.session_key, agent_id=session.agent_id, reason="reset", at=now)
        )
        return Conversation(session=reset)

    def _completed(self, request: RunRequest) -> RunRequest:
        """Return the request with the parameters that the settings give its model."""
        params = self._rules.params(request.agent_id, request.models[0])
        return replace(request, sampling=with_defaults(request.sampling, params))


def _chosen(request: RunRequest, session: SessionRow | None) -> RunRequest:
    """Return the request with what was chosen for its session, where it chose nothing itself."""
    if session is None:
        return request
    models, sampling = request.models, request.sampling
    if session.model is not None and not request.model_chosen:
        models = (session.model,)
    effort = session.thinking_level
    if effort is not None and sampling.reasoning_effort is None:
        sampling = replace(sampling, reasoning_effort=effort)
    return replace(request, models=models, sampling=sampling)


def _is_whole(past: Conversation) -> bool:
    return past.session is None or len(past.messages) == past.session.message_count
