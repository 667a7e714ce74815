"""What an image really is: its types and its size in pixels, told by its own bytes.

Nothing is decoded. The signatures are those of the formats' own specifications; HEIC, HEIF and AVIF are
told apart by the brands of their first box, `ftyp` (ISO/IEC 14496-12, 23008-12).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

__all__ = ["canonical", "pixels", "types_of"]

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
WEBP = "image/webp"
HEIC = "image/heic"
HEIF = "image/heif"
AVIF = "image/avif"

MAX_FTYP_BYTES = 1024
MAX_JPEG_SEGMENTS = 2000
MAX_HEIF_SIZES = 1000

_OTHER_NAMES = {"image/jpg": JPEG, "image/pjpeg": JPEG, "image/x-png": PNG}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis"}
_HEIF_BRANDS = {b"mif1", b"mif2", b"mif3"}
_AVIF_BRANDS = {b"avif", b"avio"}
_WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X"}
# Length and name of the box that holds a HEIF image's size; eight bytes that do not occur by chance.
_ISPE = b"\x00\x00\x00\x14ispe"
# Start of frame: the segments that hold a JPEG's size. C4, C8 and CC are something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def canonical(media_type: str) -> str:
    """Return the registered name of a media type: lower case, and `image/jpeg` for `image/jpg`."""
    name = media_type.strip().lower()
    return _OTHER_NAMES.get(name, name)


def types_of(data: bytes) -> tuple[str, ...]:
    """Return the media types that the bytes are, the most specific first; none when they are no known image.

    A HEIC file is a HEIF file too.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return (JPEG,)
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return (PNG,)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return (GIF,)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP" and data[12:16] in _WEBP_CHUNKS:
        return (WEBP,)
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return (AVIF,)
    if brands & _HEIC_BRANDS:
        return (HEIC, HEIF)
    return (HEIF,) if brands & _HEIF_BRANDS else ()


def _brands(data: bytes) -> set[bytes]:
    """Return the major and the compatible brands of an ISO media file."""
    size = int.from_bytes(data[:4], "big")
    if data[4:8] != b"ftyp" or not 16 <= size <= min(len(data), MAX_FTYP_BYTES):  # noqa: PLR2004 - the least box
        return set()
    return {data[8:12]} | {data[at : at + 4] for at in range(16, size, 4)}


def pixels(data: bytes) -> int:
    """Return how many pixels the image says it has; 0 when it does not say so where it should.

    A file of a few kilobytes can unpack to gigabytes: this number tells before anybody tries.
    """
    for kind in types_of(data):
        if kind in _SIZES:
            try:
                width, height = _SIZES[kind](data)
            except struct.error:  # it ends before it says
                return 0
            return width * height
    return 0


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _webp(data: bytes) -> tuple[int, int]:
    """Read the size from the first chunk. https://developers.google.com/speed/webp/docs/riff_container."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        low, middle, high = struct.unpack_from("<HHH", data, 24)
        return (low | (middle & 0xFF) << 16) + 1, (middle >> 8 | high << 8) + 1
    if chunk == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        lead, marker, length = struct.unpack_from(">BBH", data, at)
        if lead != 0xFF:  # noqa: PLR2004 - every segment begins with it
            break
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + length  # noqa: PLR2004 - fill bytes may stand before a marker
    return 0, 0


def _heif(data: bytes) -> tuple[int, int]:
    """Read the largest size that an `ispe` box holds: of the image, its tiles and thumbnails."""
    largest = (0, 0)
    at = data.find(_ISPE)
    for _ in range(MAX_HEIF_SIZES):
        if at < 0:
            break
        width, height = struct.unpack_from(">II", data, at + 12)
        largest = max(largest, (width, height), key=lambda size: size[0] * size[1])
        at = data.find(_ISPE, at + len(_ISPE))
    return largest


_SIZES: Mapping[str, Callable[[bytes], tuple[int, int]]] = {
    JPEG: _jpeg,
    PNG: _png,
    GIF: _gif,
    WEBP: _webp,
    HEIC: _heif,
    HEIF: _heif,
    AVIF: _heif,
}
