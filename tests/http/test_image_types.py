import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.http.image_types import MAX_JPEG_SEGMENTS, canonical, pixels, types_of
from tests.http import images

HEIC = ("image/heic", "image/heif")
EVERY_KIND = {
    "png": (images.png, ("image/png",)),
    "gif": (images.gif, ("image/gif",)),
    "jpeg": (images.jpeg, ("image/jpeg",)),
    "webp, lossy": (images.webp_lossy, ("image/webp",)),
    "webp, lossless": (images.webp_lossless, ("image/webp",)),
    "webp, extended": (images.webp_extended, ("image/webp",)),
    "heic": (images.heic, HEIC),
}


class Types(SynchronousTestCase):
    def test_every_kind(self) -> None:
        for name, (make, types) in EVERY_KIND.items():
            self.assertEqual(types_of(make()), types, name)
        self.assertEqual(types_of(images.gif(version=b"87a")), ("image/gif",))

    def test_the_brands_of_an_iso_file(self) -> None:
        table: list[tuple[tuple[bytes, ...], tuple[str, ...]]] = [
            ((b"heic",), HEIC),
            ((b"heix", b"mif1"), HEIC),
            ((b"mif1", b"miaf", b"heic"), HEIC),  # what some cameras write
            ((b"mif1", b"miaf"), ("image/heif",)),
            ((b"avif", b"mif1", b"miaf"), ("image/avif",)),
            ((b"mif1", b"avif"), ("image/avif",)),
            ((b"isom", b"iso2", b"mp41"), ()),
            ((b"qt  ",), ()),
        ]
        for brands, types in table:
            self.assertEqual(types_of(images.iso(*brands)), types, brands)

    def test_what_is_no_image(self) -> None:
        table = [
            b"",
            b"hello",
            b"<html><img src=x></html>",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"%PDF-1.7",
            b"PK\x03\x04",
            b"BM" + bytes(60),
            b"\x89PNG\r\n\x1a\n" + bytes(20),  # the signature alone
            b"\x89PNG\n\x1a\n\x00\x00\x00\rIHDR",  # through a text transfer
            b"GIF88a" + bytes(10),
            b"\xff\xd8",
            b"RIFF\x00\x00\x00\x00WAVEfmt ",
            b"RIFF\x00\x00\x00\x00WEBPJUNK",
            b"\x00\x00\x00\x0cftypheic",  # a box that is too short for its brands
            b"\x7f\x00\x00\x00ftypheic",  # and one that is longer than the file
        ]
        for data in table:
            self.assertEqual(types_of(data), (), data)

    def test_other_names(self) -> None:
        for name in ("image/jpg", "IMAGE/JPEG", " image/pjpeg "):
            self.assertEqual(canonical(name), "image/jpeg")
        self.assertEqual(canonical("image/webp"), "image/webp")


class Pixels(SynchronousTestCase):
    def test_every_kind(self) -> None:
        for name, (make, _) in EVERY_KIND.items():
            self.assertEqual(pixels(make()), 6, name)
            self.assertEqual(pixels(make(12_000, 9_000)), 108_000_000, name)

    def test_a_bomb(self) -> None:
        self.assertEqual(pixels(images.png(50_000, 50_000)), 2_500_000_000)
        self.assertEqual(pixels(images.webp_extended(1 << 24, 1 << 24)), 1 << 48)
        self.assertEqual(pixels(images.jpeg(65_535, 65_535, frame=0xC2)), 65_535**2)

    def test_the_frame_of_a_jpeg_comes_after_other_segments(self) -> None:
        exif = b"\xff\xe1" + struct.pack(">H", 60_000) + bytes(59_998)
        tables = b"\xff\xc4\x00\x06abcd"  # not a frame, though its number is between theirs
        fill = b"\xff\xff\xff"
        self.assertEqual(pixels(images.jpeg(before=exif + tables + fill)), 6)

    def test_the_largest_size_of_a_heif_counts(self) -> None:
        self.assertEqual(
            pixels(images.iso(b"mif1", sizes=((160, 120), (4000, 3000), (512, 512)))), 12_000_000
        )

    def test_a_jpeg_of_nothing_but_segments_is_given_up(self) -> None:
        empty = b"\xff\xe0\x00\x02"
        self.assertEqual(pixels(images.jpeg(before=empty * (MAX_JPEG_SEGMENTS - 2))), 6)
        self.assertEqual(pixels(images.jpeg(before=empty * MAX_JPEG_SEGMENTS)), 0)

    def test_a_jpeg_that_is_broken_does_not_say(self) -> None:
        no_segment = b"\x12\xc0\x00\x0b\x08\xff\xff\xff\xff"
        self.assertEqual(pixels(images.jpeg(before=no_segment)), 0)

    def test_what_ends_too_soon_does_not_say(self) -> None:
        for name, (make, types) in EVERY_KIND.items():
            whole = make()
            for end in range(len(whole)):
                part = whole[:end]
                self.assertIn(types_of(part), {(), types}, name)
                self.assertIn(pixels(part), {0, 6}, name)
        self.assertEqual(pixels(b"text"), 0)

    @given(st.sampled_from([make() for make, _ in EVERY_KIND.values()]), st.binary(max_size=64))
    def test_no_bytes_are_too_much(self, head: bytes, more: bytes) -> None:
        for cut in (4, 12, 20, len(head)):
            self.assertGreaterEqual(pixels(head[:cut] + more), 0)
