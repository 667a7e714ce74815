"""What a model that cannot see is shown of a conversation with images."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from openclaw_twisted.boundaries import ModelRequest
from openclaw_twisted.content import ImagePart, Message, Part, TextPart
from openclaw_twisted.errors import InvalidRequestError

__all__ = ["text_only"]

UNSEEN = TextPart("(An image that this model cannot see.)")


def text_only(request: ModelRequest, refusal: str) -> ModelRequest:
    """Return the request with a word in the place of each image that was answered before.

    Raises `InvalidRequestError(refusal)` for an image that is to be answered now: the answer would be made
    up. One of an earlier turn was for another model, and must not keep a session from going on.
    """
    messages = request.messages
    answered = max((at for at, message in enumerate(messages) if message.role == "assistant"), default=-1)
    if any(_has_image(message) for message in messages[answered + 1 :]):
        raise InvalidRequestError(refusal, param="messages")
    if not any(map(_has_image, messages)):
        return request
    return replace(request, messages=tuple(map(_unseen, messages)))


def _has_image(message: Message) -> bool:
    return not isinstance(message.content, str) and any(
        isinstance(part, ImagePart) for part in message.content
    )


def _unseen(message: Message) -> Message:
    if not _has_image(message):
        return message
    parts: Sequence[Part] = message.content  # type: ignore[assignment] # text has no images
    return replace(message, content=tuple(UNSEEN if isinstance(part, ImagePart) else part for part in parts))
