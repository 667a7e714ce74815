"""The content of a message: text, or parts of text and images, within limits checked before decoding."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from openclaw_twisted.config.settings import ImagesSettings
from openclaw_twisted.content import ImagePart, Message, Part, TextPart
from openclaw_twisted.errors import InvalidRequestError

__all__ = ["ContentLimits", "PartIn", "read_content"]


class TextIn(msgspec.Struct, tag_field="type", tag="text"):
    """A text part."""

    text: str


class InputTextIn(msgspec.Struct, tag_field="type", tag="input_text"):
    """A text part as the Responses API writes it."""

    text: str


class RefusalIn(msgspec.Struct, tag_field="type", tag="refusal"):
    """What an earlier assistant message refused with."""

    refusal: str


class ImageUrl(msgspec.Struct):
    """Where an image is."""

    url: str
    detail: str | None = None


class ImageIn(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image part."""

    image_url: ImageUrl


PartIn = TextIn | InputTextIn | RefusalIn | ImageIn

_DATA_URI = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w.=+-]+)*;base64,", re.IGNORECASE)
_SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}


@dataclass(frozen=True)
class ContentLimits:
    """How many images a request may bring, how large in bytes once decoded, and of which kinds."""

    images: ImagesSettings
    max_images: int
    max_total_bytes: int

    def check_total(self, messages: Sequence[Message]) -> None:
        """Raise `InvalidRequestError` when the images of all messages are too many or too large together."""
        images = [
            part
            for message in messages
            if not isinstance(message.content, str)
            for part in message.content
            if isinstance(part, ImagePart)
        ]
        if len(images) > self.max_images:
            raise InvalidRequestError(
                f"A request may hold {self.max_images} images, this one holds {len(images)}.",
                param="messages",
            )
        if sum(_decoded_size(image.data) for image in images) > self.max_total_bytes:
            raise InvalidRequestError(
                f"The images together exceed {self.max_total_bytes} bytes.", param="messages"
            )


def read_content(
    given: str | list[PartIn] | None, path: str, limits: ContentLimits
) -> str | tuple[Part, ...]:
    """Return a message's content: text as text, parts as parts; absent content is empty text."""
    if given is None:
        return ""
    if isinstance(given, str):
        return given
    if not any(isinstance(part, ImageIn) for part in given):
        return "".join(_text(part) for part in given if not isinstance(part, ImageIn))
    return tuple(
        _image(part.image_url, f"{path}[{at}].image_url.url", limits.images)
        if isinstance(part, ImageIn)
        else TextPart(_text(part))
        for at, part in enumerate(given)
    )


def _text(part: TextIn | InputTextIn | RefusalIn) -> str:
    return part.refusal if isinstance(part, RefusalIn) else part.text


def _image(image: ImageUrl, path: str, limits: ImagesSettings) -> ImagePart:
    uri = _DATA_URI.match(image.url)
    if uri is None:
        raise InvalidRequestError("Images are taken as data: URIs in base64.", param=path)
    media_type, data = uri["type"].lower(), image.url[uri.end() :]
    if media_type not in limits.allowed_mimes:
        raise InvalidRequestError(
            f"Images of this type are not taken, only {', '.join(limits.allowed_mimes)}.", param=path
        )
    if _decoded_size(data) > limits.max_bytes:
        raise InvalidRequestError(f"The image exceeds {limits.max_bytes} bytes.", param=path)
    try:
        content = b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("The image is not valid base64.", param=path) from None
    signatures = _SIGNATURES.get(media_type)
    if not content or (signatures and not content.startswith(signatures)):
        raise InvalidRequestError("The image is not of the type that its URI names.", param=path)
    return ImagePart(media_type=media_type, data=data, detail=image.detail)


def _decoded_size(data: str) -> int:
    return len(data) * 3 // 4
