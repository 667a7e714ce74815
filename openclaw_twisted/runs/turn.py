"""One turn: put the question together, ask, gather the answer.

The rule for history: a session that has messages takes from the request only what follows the last
assistant message in it (when nothing follows, from the last user message on), because clients resend
the whole conversation each time; an empty session is seeded with all of it. A request that `appends` says
that it holds new messages only, and all of them are taken; of one that `resends`, the messages before what it
adds stand in for the session's past (`opening`).

System messages stand at the head of the question, once each, wherever they were said: the session keeps
those that were among the messages, and a client that resends them need not have them kept.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import aclosing
from itertools import takewhile

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from openclaw_twisted.boundaries import ModelRequest, Provider, Taker
from openclaw_twisted.content import FinishReason, Message, ToolCall, Usage, text_of
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.events import Finished, ModelAnswering, ProviderEvent, TextDelta, ToolCallDelta
from openclaw_twisted.runs.feed import Feed
from openclaw_twisted.runs.request import RunRequest

__all__ = ["Reply", "ask", "compose", "goes_on", "new_messages", "with_whole_rounds"]


# A model's small pieces weigh several times what they say, so they are joined at this number.
MAX_PIECES = 256


class Reply:
    """An answer as far as it has come; `reason` is None until it is complete, `model` until it begins.

    `began_at` is when its first piece came, by whatever clock `ask` was given; None before that.
    """

    __slots__ = ("_calls", "_newest", "_text", "began_at", "model", "reason", "usage")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._newest: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.began_at: float | None = None

    def take(self, events: Sequence[ProviderEvent]) -> None:
        """Add a batch."""
        for event in events:
            if isinstance(event, TextDelta):
                self._newest.append(event.text)
                if len(self._newest) > MAX_PIECES:
                    self._join()
            elif isinstance(event, ToolCallDelta):
                call = self._calls.setdefault(event.index, [event.id or "", event.name or ""])
                call[1] = call[1] or event.name or ""  # some name a call after they have begun it
                call.append(event.arguments)
            elif isinstance(event, Finished):
                self.reason = event.reason
                self.usage = event.usage
            elif isinstance(event, ModelAnswering):
                self.model = event.model

    @property
    def text(self) -> str:
        """The answer's text."""
        self._join()
        return "".join(self._text)

    def _join(self) -> None:
        self._text.append("".join(self._newest))
        self._newest.clear()

    def message(self) -> Message:
        """Return the assistant message; in an incomplete answer its tool calls may be cut short."""
        return Message(
            role="assistant",
            content=self.text,
            tool_calls=tuple(
                ToolCall(id=call[0], name=call[1], arguments="".join(call[2:]))
                for _, call in sorted(self._calls.items())
            ),
        )


def new_messages(request: RunRequest, *, has_history: bool) -> tuple[Message, ...]:
    """Return what the request adds to its session."""
    messages = request.messages
    if request.appends or not has_history:
        return messages
    last = max((at for at, message in enumerate(messages) if message.role == "assistant"), default=-1)
    added = messages[last + 1 :]
    if added:
        return added
    last_user = max((at for at, message in enumerate(messages) if message.role == "user"), default=0)
    return messages[last_user:]


def goes_on(added: Sequence[Message]) -> bool:
    """Tell whether what a request adds goes on with a turn: it begins with results of tools."""
    return bool(added) and added[0].role == "tool"


def compose(
    request: RunRequest, *, system_prompt: str, history: Sequence[Message], added: Sequence[Message]
) -> ModelRequest:
    """Return the question: the system prompt and the client's instructions, then the conversation.

    Raises `InvalidRequestError` when the conversation is nothing but results of calls that nobody made.
    """
    conversation = with_whole_rounds([message for message in (*history, *added) if message.role != "system"])
    if not conversation:
        raise InvalidRequestError(
            "Nothing is left to answer: what was sent are results of tools, but not the calls they belong to."
        )
    said = (text_of(message) for message in (*history, *request.messages) if message.role == "system")
    system = "\n\n".join(
        dict.fromkeys(text for text in (system_prompt, *request.instructions, *said) if text)
    )
    opening = (Message(role="system", content=system),) if system else ()
    return ModelRequest(
        model=request.models[0],
        fallbacks=request.models[1:],
        messages=(*opening, *conversation),
        tools=request.tools,
        tool_choice=request.tool_choice,
        sampling=request.sampling,
    )


def with_whole_rounds(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the conversation without halves of tool rounds, and with one result for each call.

    Providers refuse a call without its results, a result without its call, and a second one. All of them
    happen: a client asks something else instead of answering a call, sends the end of a conversation only, or
    sends its results again, because what it was told then broke off or got lost. Then what was said since
    they came first is left out, or there would be an answer already, and nothing to ask. Where somebody else
    has spoken in the session before the results came, their calls are put where the results are.
    """
    if not any(message.tool_calls or message.role == "tool" for message in messages):
        return tuple(messages)
    rounds = _Rounds()
    for at, message in enumerate(messages):
        if _is_result(message):
            rounds.answer(message)
            continue
        if message.tool_calls:
            answered = _answered(messages, at + 1)
            calls = tuple(call for call in message.tool_calls if call.id in answered)
            if len(calls) < len(message.tool_calls):
                rounds.leave_open(message.tool_calls, answered)
                message = msgspec.structs.replace(message, tool_calls=calls)  # noqa: PLW2901
                if not calls and not message.content:
                    continue
        rounds.say(message)
    return tuple(rounds.whole)


class _Rounds:
    """A conversation that is put together from whole rounds."""

    def __init__(self) -> None:
        self.whole: list[Message] = []
        self._made_at: dict[str | None, int] = {}
        self._open: dict[str | None, ToolCall] = {}
        self._newest = -1
        self._unanswered: list[str | None] = []  # of the newest message; some give two calls one name

    def say(self, message: Message) -> None:
        """Add a message that is no result."""
        self._newest = len(self.whole)
        self._unanswered = [call.id for call in message.tool_calls]
        if message.role == "user":  # what was called for before is of another turn
            self._made_at.clear()
        self._made_at.update(dict.fromkeys(self._unanswered, self._newest))
        self.whole.append(message)

    def leave_open(self, calls: Sequence[ToolCall], answered: Container[str | None]) -> None:
        """Note calls without a result, which may yet come."""
        self._open.update((call.id, call) for call in calls if call.id not in answered)

    def answer(self, result: Message) -> None:
        """Add a result, in the place of an earlier one of the same call; none that nobody called for."""
        name = result.tool_call_id
        if name in self._open:
            call = self._open.pop(name)
            if name not in self._made_at:
                self._call_late(call)
        made_at = self._made_at.get(name)
        if made_at is None:
            return
        if made_at != self._newest or name not in self._unanswered:
            self._go_back(made_at, name)
        self._unanswered.remove(name)
        self.whole.append(result)

    def _call_late(self, call: ToolCall) -> None:
        """Put a call where its result is, beside those that are there."""
        if not (self.whole and self.whole[self._newest].tool_calls):
            self.say(Message(role="assistant"))
        message = self.whole[self._newest]
        self.whole[self._newest] = msgspec.structs.replace(message, tool_calls=(*message.tool_calls, call))
        self._made_at[call.id] = self._newest
        self._unanswered.append(call.id)

    def _go_back(self, made_at: int, name: str | None) -> None:
        """Leave out what followed some calls, but the results of the others among them."""
        following = takewhile(_is_result, self.whole[made_at + 1 :])
        others = [each for each in following if each.tool_call_id != name]
        self.whole[made_at + 1 :] = others
        self._newest = made_at
        self._unanswered = [call.id for call in self.whole[made_at].tool_calls]
        for each in others:
            self._unanswered.remove(each.tool_call_id)
        self._made_at = {each: at for each, at in self._made_at.items() if at <= made_at}


def _answered(messages: Sequence[Message], start: int) -> set[str | None]:
    """Return the ids that the results from `start` on, up to the next message that is none, belong to."""
    following = (messages[at] for at in range(start, len(messages)))
    return {message.tool_call_id for message in takewhile(_is_result, following)}


def _is_result(message: Message) -> bool:
    return message.role == "tool"


async def ask(
    provider: Provider, question: ModelRequest, *, feed: Feed, reply: Reply, seconds: Callable[[], float]
) -> None:
    """Put the question to the provider; publish and gather the answer as it comes.

    `seconds` is the clock. Raises what the provider raises; `reply` then holds what had arrived.
    """

    def take(events: Sequence[ProviderEvent]) -> Deferred[None] | None:
        reply.take(events)
        published = events[:-1] if events and isinstance(events[-1], Finished) else events
        if published:
            if reply.began_at is None and not isinstance(published[-1], ModelAnswering):
                reply.began_at = seconds()
            feed.publish(published)  # type: ignore[arg-type]  # only the last can be a `Finished`
            if feed.stopped:
                raise CancelledError
        return feed.flowing()

    taker: Taker | None = None
    async with aclosing(provider.respond(question)) as answer:
        while True:
            try:
                events = await answer.asend(taker)
            except StopAsyncIteration:
                return
            held_up = take(events)
            if held_up is not None:
                await held_up
            taker = take
