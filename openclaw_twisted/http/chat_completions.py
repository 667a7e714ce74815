"""POST /v1/chat/completions: a chat request becomes a run; the run's events become the answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from openclaw_twisted import session_key
from openclaw_twisted.agents.target import Target
from openclaw_twisted.config.settings import ChatCompletionsSettings
from openclaw_twisted.content import text_of
from openclaw_twisted.http.agent_runs import AgentRuns, Place, end_of
from openclaw_twisted.http.chat_answer import ChunkEncoder, completion, heading_of
from openclaw_twisted.http.chat_request import ChatRequest, parse
from openclaw_twisted.http.conversation import Conversation
from openclaw_twisted.http.endpoint import Call, Reply
from openclaw_twisted.http.image_fetch import ImageFetcher
from openclaw_twisted.http.parts import ContentLimits

__all__ = ["ChatCompletions", "limits_of"]

ERRANDS = ("### Task:", "Your task is to reflect the speaker's likely facial expression")
"""How Open WebUI asks for what it wants beside a chat: a title, tags, questions to ask next, words to search.

It asks under the chat's id, without a stream. What it found in documents is put before a question in a stream
with the first of these words.
"""

ERRANDS_BY_INSTRUCTION = ("Available Tools: ", "You are Open WebUI's private memory reviewer")
"""How it asks which of its own tools to use, and what to remember: the message has no words of its own.

A system prompt that its users gave the model stands before these.
"""


@dataclass(frozen=True, kw_only=True)
class ChatCompletions:
    """The endpoint; `now` gives seconds since the epoch."""

    runs: AgentRuns
    images: ImageFetcher
    now: Callable[[], float]

    async def __call__(self, call: Call) -> Reply | None:
        """Answer whole, or in pieces when the request says `stream`."""
        asked, conversation = await self.runs.read(call, lambda: parse(call.body, self.images.limits))
        target = self.runs.target(call, model=asked.model, user=asked.user)
        place = _place(target, asked, conversation)
        run = await self.runs.run(
            call, target, conversation, images=self.images, placing=lambda: nullcontext(place)
        )
        heading = heading_of(run.request.run_id, self.now(), target.model_echo, legacy=asked.legacy)
        if not asked.stream:
            return Reply(body=completion(heading, await end_of(run)), headers=self.runs.headers(run))
        encoder = ChunkEncoder(heading, include_usage=asked.include_usage, comments=self.runs.comments)
        await self.runs.stream(call, run, encoder)
        return None


def _place(target: Target, asked: ChatRequest, conversation: Conversation) -> Place:
    """Return the session that was named, or none for an errand, which belongs to no conversation."""
    if target.resends and not asked.stream and _is_errand(conversation):
        return Place(session_key=session_key.stateless(target.agent.id))
    return Place(session_key=target.session_key, resends=target.resends)


def _is_errand(conversation: Conversation) -> bool:
    if len(conversation.messages) != 1:
        return False
    if text_of(conversation.messages[0]).startswith(ERRANDS):
        return True
    lines = (line for text in conversation.instructions for line in text.splitlines())
    return any(line.startswith(ERRANDS_BY_INSTRUCTION) for line in lines)


def limits_of(settings: ChatCompletionsSettings) -> ContentLimits:
    """Return what the settings allow a request to bring."""
    return ContentLimits(
        settings.images,
        max_images=settings.max_image_parts,
        max_total_bytes=settings.max_total_image_bytes,
    )
