"""The content of a message: text, or parts of text and images, within limits checked before decoding."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from openclaw_twisted.config.settings import ImagesSettings
from openclaw_twisted.content import ImagePart, Message, Part, TextPart
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.image_types import canonical, pixels, types_of
from openclaw_twisted.http.image_url import WebAddress, read_address

__all__ = [
    "IMAGES_KEY",
    "Content",
    "ContentLimits",
    "Draft",
    "ImageLink",
    "ItemPartIn",
    "PartIn",
    "TextPartIn",
    "content_of",
    "images_in",
    "joined",
    "known_size",
    "read_content",
    "with_parts",
]

IMAGES_KEY = "gateway.http.endpoints.chatCompletions.images"
"""Where the settings of images in chat requests stand."""

MAX_PIXELS = 100_000_000
MAX_DATA_HEAD_CHARACTERS = 256

_DATA_HEAD = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w.=+-]+)*;base64", re.IGNORECASE | re.ASCII)


class TextIn(msgspec.Struct, tag_field="type", tag="text"):
    """A text part."""

    text: str


class InputTextIn(msgspec.Struct, tag_field="type", tag="input_text"):
    """A text part as the Responses API writes it."""

    text: str


class OutputTextIn(msgspec.Struct, tag_field="type", tag="output_text"):
    """A text part of an earlier answer as the Responses API writes it."""

    text: str


class RefusalIn(msgspec.Struct, tag_field="type", tag="refusal"):
    """What an earlier assistant message refused with."""

    refusal: str


class ImageUrl(msgspec.Struct):
    """Where an image is."""

    url: str
    detail: str | None = None


class ImageIn(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image part; OpenClaw takes the bare address too."""

    image_url: ImageUrl | str


class InputImageIn(msgspec.Struct, tag_field="type", tag="input_image"):
    """An image part as the Responses API writes it."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class ReasoningTextIn(msgspec.Struct, tag_field="type", tag="reasoning_text"):
    """What an earlier answer's model was thinking, which is not told to the model again."""


class InputFileIn(msgspec.Struct, tag_field="type", tag="input_file"):
    """A file, which is refused: no model here is given files."""


class FileIn(InputFileIn, tag_field="type", tag="file"):
    """The same, as chat messages hold it."""


class InputAudioIn(msgspec.Struct, tag_field="type", tag="input_audio"):
    """A recording, which is refused as files are."""


PartIn = TextIn | InputTextIn | RefusalIn | ImageIn | FileIn | InputAudioIn
"""A part of a chat message."""

TextPartIn = TextIn | InputTextIn
"""A part of a message that holds text only."""

ItemPartIn = TextIn | InputTextIn | OutputTextIn | ReasoningTextIn | RefusalIn | InputImageIn | InputFileIn
"""A part of an item of the Responses API."""


@dataclass(frozen=True, kw_only=True)
class ImageLink:
    """An image that is still to be fetched; `param` is the path of its address in the request."""

    address: WebAddress
    param: str
    detail: str | None = None


Content = str | tuple[Part | ImageLink, ...]
"""What a message says, before its images are fetched."""


class Draft(Message, frozen=True, kw_only=True):
    """A message some of whose images are still to be fetched; `parts` is what its content will be.

    Until then its content is what is here already.
    """

    parts: tuple[Part | ImageLink, ...]

    def completed(self, images: Mapping[WebAddress, ImagePart]) -> Message:
        """Return the message with each image where its address stood."""
        content = tuple(
            replace(images[part.address], detail=part.detail) if isinstance(part, ImageLink) else part
            for part in self.parts
        )
        return Message(**{**_fields(self), "content": content})


@dataclass(frozen=True)
class ContentLimits:
    """How many images a request may bring, how large in bytes once decoded, and of which kinds.

    `max_links` bounds those given by address. `key` is where the settings stand, `param` the part of the
    request that holds the images.
    """

    images: ImagesSettings
    max_images: int
    max_total_bytes: int
    max_links: int | None = None
    key: str = IMAGES_KEY
    param: str = "messages"

    def check_total(self, messages: Sequence[Message]) -> None:
        """Raise `InvalidRequestError` when the images of all messages are too many or too large together.

        Those still to be fetched are counted; their bytes are not known yet.
        """
        images = images_in(messages)
        if not images:
            return
        if len(images) > self.max_images:
            raise InvalidRequestError(
                f"A request may hold {self.max_images} images, this one holds {len(images)}.",
                param=self.param,
            )
        links = sum(isinstance(image, ImageLink) for image in images)
        if self.max_links is not None and links > self.max_links:
            raise InvalidRequestError(
                f"A request may hold {self.max_links} images by address, this one holds {links}. "
                "Send them as data: URIs.",
                param=self.param,
            )
        if sum(map(known_size, images)) > self.max_total_bytes:
            raise self.total_exceeded()

    def total_exceeded(self) -> InvalidRequestError:
        """Return the error of a request whose images are too large together."""
        return InvalidRequestError(
            f"The images together exceed {self.max_total_bytes} bytes. Send fewer or smaller ones.",
            param=self.param,
        )

    def media_type(self, image: bytes, param: str, *, declared: str | None = None) -> str:
        """Return what type the image is by its bytes; a `declared` type has to be among those.

        Raises `InvalidRequestError` for what is no image, is none of the allowed types or unpacks to
        too much.
        """
        allowed = [canonical(name) for name in self.images.allowed_mimes]
        if declared is not None and declared not in allowed:
            raise _wrong_type(allowed, param)
        types = types_of(image)
        if declared is not None and declared not in types:
            raise InvalidRequestError("The image is not of the type that its URI names.", param=param)
        if pixels(image) > MAX_PIXELS:
            raise InvalidRequestError(
                f"The image has more than {MAX_PIXELS} pixels. Scale it down.", param=param
            )
        for name in types if declared is None else (declared,):
            if name in allowed:
                return name
        raise _wrong_type(allowed, param)


def read_content(
    given: str | Sequence[PartIn | ItemPartIn] | None, path: str, limits: ContentLimits
) -> Content:
    """Return a message's content: text as text, parts as parts; absent content is empty text.

    Parts that are nothing but text become one, a line for each at least, as OpenClaw has it: clients put
    together what they have to say of pieces that do not end in a blank.

    Raises `InvalidRequestError` for images and files that are not taken. Nothing is fetched here.
    """
    if given is None:
        return ""
    if isinstance(given, str):
        return given
    return _lines(tuple(_part(part, f"{path}[{at}]", limits) for at, part in enumerate(given)))


def _lines(parts: tuple[Part | ImageLink, ...]) -> Content:
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return "\n".join(filter(None, texts)) if len(texts) == len(parts) else parts


def content_of(message: Message) -> Content:
    """Return what a message says, images that are still to be fetched included."""
    return message.parts if isinstance(message, Draft) else message.content


def joined(contents: Sequence[Content]) -> Content:
    """Return several contents as one, in the form that `read_content` gives."""
    parts = [(TextPart(said),) if isinstance(said, str) else said for said in contents]
    return _lines(tuple(part for said in parts for part in said))


def with_parts(message: Message, parts: tuple[Part | ImageLink, ...]) -> Message:
    """Return the message saying `parts`: a `Draft` while images among them are still to be fetched."""
    here = tuple(part for part in parts if not isinstance(part, ImageLink))
    fields = {**_fields(message), "content": here}
    return Message(**fields) if len(here) == len(parts) else Draft(**fields, parts=parts)


def _fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__struct_fields__}


def images_in(messages: Sequence[Message]) -> list[ImagePart | ImageLink]:
    """Return the images of all messages, those to be fetched included."""
    in_parts = [message for message in messages if not isinstance(message.content, str)]
    contents = [content_of(message) for message in in_parts]
    return [part for content in contents for part in content if isinstance(part, ImagePart | ImageLink)]


def known_size(image: ImagePart | ImageLink) -> int:
    """Return how many bytes an image has once decoded; 0 when it is not here yet."""
    return 0 if isinstance(image, ImageLink) else _decoded_size(image.data)


def _decoded_size(data: str) -> int:
    return len(data) // 4 * 3 - data[-2:].count("=")


def _part(part: PartIn | ItemPartIn, path: str, limits: ContentLimits) -> Part | ImageLink:
    match part:
        case ReasoningTextIn():
            return TextPart("")
        case RefusalIn():
            return TextPart(part.refusal)
        case ImageIn():
            if isinstance(part.image_url, str):
                return _image(ImageUrl(part.image_url), f"{path}.image_url", limits)
            return _image(part.image_url, f"{path}.image_url.url", limits)
        case InputImageIn():
            if part.image_url is None:
                raise InvalidRequestError(
                    "Give the image as image_url: files are not kept here.", param=f"{path}.image_url"
                )
            return _image(ImageUrl(part.image_url, part.detail), f"{path}.image_url", limits)
        case InputFileIn():
            raise InvalidRequestError(
                "Files are not taken. Send what they say as text, or their pages as images.", param=path
            )
        case InputAudioIn():
            raise InvalidRequestError("Recordings are not taken. Send what they say as text.", param=path)
        case _:
            return TextPart(part.text)


def _image(image: ImageUrl, param: str, limits: ContentLimits) -> ImagePart | ImageLink:
    scheme = image.url[:MAX_DATA_HEAD_CHARACTERS].partition(":")[0].lower()
    if scheme == "data":
        return _data_image(image, param, limits)
    if scheme not in {"http", "https"}:
        ways = " or by its http(s) address" if limits.images.allow_url else ""
        raise InvalidRequestError(f"Give the image as a data: URI in base64{ways}.", param=param)
    if not limits.images.allow_url:
        raise InvalidRequestError(
            "Images are not fetched from addresses. Send them as data: URIs in base64, "
            f"or have {limits.key}.allowUrl set to true.",
            param=param,
        )
    address = read_address(image.url)
    if address is None:
        raise InvalidRequestError(
            "The image's address cannot be read. Write it as http(s)://host/path with blanks encoded, "
            "without a user name.",
            param=param,
        )
    return ImageLink(address=address, param=param, detail=image.detail)


def _data_image(image: ImageUrl, param: str, limits: ContentLimits) -> ImagePart:
    head, comma, _ = image.url[:MAX_DATA_HEAD_CHARACTERS].partition(",")
    uri = _DATA_HEAD.fullmatch(head) if comma else None
    if uri is None:
        raise InvalidRequestError(
            "Images are taken as data: URIs in base64: data:image/png;base64,...", param=param
        )
    data = image.url[len(head) + 1 :]
    max_bytes = limits.images.max_bytes
    if _decoded_size(data) > max_bytes:
        raise InvalidRequestError(f"The image exceeds {max_bytes} bytes.", param=param)
    try:
        content = a2b_base64(data, strict_mode=True)
    except ValueError:
        raise InvalidRequestError(
            "The image is not valid base64. Write it with padding, without line breaks.", param=param
        ) from None
    media_type = limits.media_type(content, param, declared=canonical(uri["type"]))
    return ImagePart(media_type=media_type, data=data, detail=image.detail)


def _wrong_type(allowed: Sequence[str], param: str) -> InvalidRequestError:
    return InvalidRequestError(f"Images of this type are not taken, only {', '.join(allowed)}.", param=param)
