"""What clients send along with a message: images, as base64 text or as data URLs.

{"type": "image", "mimeType": "image/png", "fileName": "a.png", "content": "<base64>"}
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from msgspec import Struct

from openclaw_twisted.agents.directory import shown
from openclaw_twisted.content import ImagePart, Message, Part, TextPart
from openclaw_twisted.ws.params import invalid

__all__ = ["IMAGE_TYPES", "MAX_IMAGE_BYTES", "Attachment", "user_message"]

IMAGE_TYPES = ("image/gif", "image/jpeg", "image/png", "image/webp")
MAX_IMAGE_BYTES = 10_485_760

_DATA_URL = "data:"
_BASE64 = ";base64"


class Attachment(Struct, frozen=True, kw_only=True, rename="camel"):
    """A file beside a message; `content` is its base64 text or a data URL, other keys change nothing."""

    type: str | None = None
    mime_type: str | None = None
    file_name: str | None = None
    content: Any = None


def user_message(method: str, text: str, attachments: tuple[Attachment, ...]) -> Message:
    """Return what the user says: text alone, or text and images.

    Raises `InvalidRequestError` for what is no image, too large or no base64.
    """
    if not attachments:
        return Message(role="user", content=text)
    images = [_image(method, at, attachment) for at, attachment in enumerate(attachments)]
    parts: tuple[Part, ...] = (TextPart(text), *images) if text else tuple(images)
    return Message(role="user", content=parts)


def _image(method: str, at: int, attachment: Attachment) -> ImagePart:
    place = f"at /attachments/{at}"
    content, media_type = attachment.content, attachment.mime_type or ""
    if not isinstance(content, str):
        raise invalid(method, f"{place}/content: expected `str`")
    if content.startswith(_DATA_URL):
        head, _, content = content.removeprefix(_DATA_URL).partition(",")
        media_type = head.removesuffix(_BASE64)
    media_type = media_type.strip().lower()
    if media_type not in IMAGE_TYPES:
        allowed = ", ".join(IMAGE_TYPES)
        raise invalid(method, f'{place}/mimeType: "{shown(media_type)}" cannot be sent; {allowed} can')
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(method, f"{place}/content: is no base64") from None
    if not 0 < len(data) <= MAX_IMAGE_BYTES:
        raise invalid(method, f"{place}/content: an image has 1 to {MAX_IMAGE_BYTES} bytes")
    return ImagePart(media_type, content)
