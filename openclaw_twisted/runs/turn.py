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

from collections.abc import Callable, Sequence
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
    """Return the conversation without halves of tool rounds.

    Providers refuse a call without its results and a result without its call. Both happen: a client asks
    something else instead of answering a call, or sends the end of a conversation only.
    """
    if not any(message.tool_calls or message.role == "tool" for message in messages):
        return tuple(messages)
    whole: list[Message] = []
    open_calls: set[str] = set()
    for at, message in enumerate(messages):
        if message.tool_calls:
            answered = _answered(messages, at + 1)
            calls = tuple(call for call in message.tool_calls if call.id in answered)
            if len(calls) < len(message.tool_calls):
                message = msgspec.structs.replace(message, tool_calls=calls)  # noqa: PLW2901
                if not calls and not message.content:
                    continue
        elif _is_result(message) and message.tool_call_id not in open_calls:
            continue
        whole.append(message)
        if not _is_result(message):
            open_calls = {call.id for call in message.tool_calls}
    return tuple(whole)


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
