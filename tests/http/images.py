"""Heads of real images, as small as they get: enough to tell the type and the size in pixels."""

from __future__ import annotations

import struct

SIDE = (3, 2)


def png(width: int = 3, height: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 6, 0, 0, 0)


def gif(width: int = 3, height: int = 2, *, version: bytes = b"89a") -> bytes:
    return b"GIF" + version + struct.pack("<HHBBB", width, height, 0, 0, 0)


def jpeg(width: int = 3, height: int = 2, *, before: bytes = b"", frame: int = 0xC0) -> bytes:
    start = struct.pack(">BBHBHHB", 0xFF, frame, 11, 8, height, width, 1)
    return b"\xff\xd8\xff\xe0\x00\x04ab" + before + start


def webp(chunk: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def webp_lossy(width: int = 3, height: int = 2) -> bytes:
    return webp(b"VP8 " + struct.pack("<I3s3sHH", 10, bytes(3), b"\x9d\x01\x2a", width | 1 << 14, height))


def webp_lossless(width: int = 3, height: int = 2) -> bytes:
    return webp(b"VP8L" + struct.pack("<IBI", 5, 0x2F, (width - 1) | (height - 1) << 14 | 1 << 28))


def webp_extended(width: int = 3, height: int = 2) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X" + struct.pack("<II", 10, 0x10) + size)


def iso(major: bytes, *compatible: bytes, sizes: tuple[tuple[int, int], ...] = (SIDE,)) -> bytes:
    """Return the head of an ISO media file: HEIC, HEIF, AVIF, or a film."""
    brands = b"".join(compatible)
    ftyp = struct.pack(">I4s4sI", 16 + len(brands), b"ftyp", major, 0) + brands
    return ftyp + b"".join(struct.pack(">I4sIII", 20, b"ispe", 0, *size) for size in sizes)


def heic(width: int = 3, height: int = 2) -> bytes:
    return iso(b"heic", b"mif1", b"heic", sizes=((width, height),))
