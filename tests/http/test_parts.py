import json
import tracemalloc
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.config.settings import ImagesSettings
from openclaw_twisted.content import ImagePart, Message, TextPart
from openclaw_twisted.errors import InvalidRequestError
from openclaw_twisted.http.chat_request import parse
from openclaw_twisted.http.image_url import WebAddress
from openclaw_twisted.http.parts import ContentLimits, Draft, ImageLink
from tests.http import images

FIRST = "messages[0].content[0].image_url.url"


def limits(*, max_images: int = 8, max_total_bytes: int = 20_971_520, **settings: Any) -> ContentLimits:
    return ContentLimits(ImagesSettings(**settings), max_images=max_images, max_total_bytes=max_total_bytes)


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64(data)}"


def padded(size: int) -> bytes:
    """Return a PNG of `size` bytes."""
    return images.png().ljust(size, b"\0")


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


class PartsCase(SynchronousTestCase):
    def message(self, *parts: dict[str, Any], allowed: ContentLimits | None = None) -> Message:
        body = {"messages": [{"role": "user", "content": parts}]}
        return parse(json.dumps(body).encode(), allowed or limits())[1].messages[0]

    def refused(self, *urls: str, allowed: ContentLimits | None = None) -> InvalidRequestError:
        with self.assertRaises(InvalidRequestError, msg=str(urls)[:100]) as caught:
            self.message(*map(image, urls), allowed=allowed)
        error: InvalidRequestError = caught.exception
        return error


class DataUris(PartsCase):
    def test_text_and_image(self) -> None:
        self.assertEqual(
            self.message(text("what?"), image(data_uri(images.png()), detail="low")).content,
            (TextPart("what?"), ImagePart("image/png", base64(images.png()), detail="low")),
        )

    def test_every_allowed_type(self) -> None:
        table = {
            "image/png": images.png(),
            "image/jpeg": images.jpeg(),
            "image/gif": images.gif(),
            "image/webp": images.webp_lossy(),
            "image/heic": images.heic(),
            "image/heif": images.iso(b"mif1"),
        }
        self.assertEqual(set(table), set(ImagesSettings().allowed_mimes))
        for media_type, data in table.items():
            self.assertEqual(
                self.message(image(data_uri(data, media_type))).content,
                (ImagePart(media_type, base64(data)),),
            )

    def test_every_disagreement(self) -> None:
        kinds = {
            "image/png": images.png(),
            "image/jpeg": images.jpeg(),
            "image/gif": images.gif(),
            "image/webp": images.webp_extended(),
            "image/heic": images.heic(),
        }
        for declared in kinds:
            for real, data in kinds.items():
                if real != declared:
                    error = self.refused(data_uri(data, declared))
                    self.assertIn("not of the type", error.message, (declared, real))
                    self.assertEqual(error.param, FIRST)

    def test_names_that_clients_write(self) -> None:
        for head, data, media_type in (
            ("data:image/jpg;base64", images.jpeg(), "image/jpeg"),
            ("DATA:IMAGE/JPEG;BASE64", images.jpeg(), "image/jpeg"),
            ("data:image/png;charset=utf-8;base64", images.png(), "image/png"),
            ("data:image/png;name=a.b-c_1.png;base64", images.png(), "image/png"),
            ("data:image/heif;base64", images.heic(), "image/heif"),
        ):
            self.assertEqual(
                self.message(image(f"{head},{base64(data)}")).content, (ImagePart(media_type, base64(data)),)
            )

    def test_settings_may_use_the_other_name_too(self) -> None:
        only_jpg = limits(allowed_mimes=("image/JPG",))
        self.assertIsInstance(
            self.message(image(data_uri(images.jpeg(), "image/jpeg")), allowed=only_jpg), Message
        )
        error = self.refused(data_uri(images.png()), allowed=only_jpg)
        self.assertIn("only image/jpeg", error.message)

    def test_what_is_no_image(self) -> None:
        png = base64(images.png())
        table = {
            "": "data: URI",
            "a.png": "data: URI",
            "file:///etc/passwd": "data: URI",
            "blob:https://example.org/1": "data: URI",
            " data:image/png;base64,AAAA": "data: URI",
            "data:": "data: URIs in base64",
            "data:image/png,plain": "data: URIs in base64",
            f"data:;base64,{png}": "data: URIs in base64",
            f"data:base64,{png}": "data: URIs in base64",
            f"data:image/png;base64{png}": "data: URIs in base64",
            f"data:image/png;{'x' * 300};base64,{png}": "data: URIs in base64",
            f"data:text/html;base64,{png}": "of this type",
            f"data:image/svg+xml;base64,{base64(b'<svg/>')}": "of this type",
            f"data:application/octet-stream;base64,{png}": "of this type",
            "data:image/png;base64,!!!!": "base64",
            "data:image/png;base64,é": "base64",
            f"data:image/png;base64,{png[:-1]}": "base64",
            f"data:image/png;base64,{png}====": "base64",
            f"data:image/png;base64,{png[:8]}\n{png[8:]}": "base64",
            f"data:image/png;base64,{png[:8]}=={png[8:]}": "base64",
            f"data:image/png;base64,{urlsafe_b64encode(images.png() + b'~~~???').decode()}": "base64",
            "data:image/png;base64,": "not of the type",
            "data:image/png;base64,AAAA": "not of the type",
        }
        for url, said in table.items():
            error = self.refused(url)
            self.assertIn(said, error.message, url)
            self.assertEqual(error.param, FIRST)
            self.assertNotIn("etc", error.message)

    def test_a_type_that_cannot_be_told_is_never_taken(self) -> None:
        vectors = limits(allowed_mimes=("image/svg+xml",))
        error = self.refused(data_uri(b"<svg/>", "image/svg+xml"), allowed=vectors)
        self.assertIn("not of the type", error.message)

    def test_a_bare_address(self) -> None:
        given = {"type": "image_url", "image_url": data_uri(images.png())}
        self.assertEqual(self.message(given), self.message(image(data_uri(images.png()))))
        with self.assertRaises(InvalidRequestError) as caught:
            self.message({"type": "image_url", "image_url": "https://example.org/a.png"})
        self.assertEqual(caught.exception.param, "messages[0].content[0].image_url")

    def test_what_is_neither_text_nor_image(self) -> None:
        table = [
            ({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,"}}, "Files are not taken"),
            ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}, "Recordings"),
        ]
        for part, said in table:
            with self.assertRaises(InvalidRequestError) as caught:
                self.message(text("Look:"), part)
            self.assertIn(said, caught.exception.message)
            self.assertEqual(caught.exception.param, "messages[0].content[1]")

    def test_system_messages_hold_no_images(self) -> None:
        system = {"role": "system", "content": [image(data_uri(images.png()))]}
        body = {"messages": [system, {"role": "user", "content": "hi"}]}
        with self.assertRaises(InvalidRequestError) as caught:
            parse(json.dumps(body).encode(), limits())
        self.assertEqual(caught.exception.param, "messages[0].content[0].type")


class Limits(PartsCase):
    def test_one_image(self) -> None:
        for size in (1000, 1001, 1002):  # each with another padding
            exact = limits(max_bytes=size)
            self.assertIsInstance(self.message(image(data_uri(padded(size))), allowed=exact), Message)
            error = self.refused(data_uri(padded(size + 1)), allowed=exact)
            self.assertIn(f"exceeds {size} bytes", error.message)
            self.assertEqual(error.param, FIRST)

    def test_all_images_together(self) -> None:
        total = limits(max_total_bytes=2000)
        self.message(image(data_uri(padded(1000))), image(data_uri(padded(1000))), allowed=total)
        error = self.refused(data_uri(padded(1000)), data_uri(padded(1001)), allowed=total)
        self.assertIn("exceed 2000 bytes", error.message)
        self.assertEqual(error.param, "messages")

    def test_how_many(self) -> None:
        self.message(*[image(data_uri(images.png()))] * 8)
        error = self.refused(*[data_uri(images.png())] * 9)
        self.assertIn("8 images, this one holds 9", error.message)

    def test_the_images_of_all_messages_count(self) -> None:
        messages = [{"role": "user", "content": [image(data_uri(images.png()))]}] * 3
        with self.assertRaises(InvalidRequestError):
            parse(json.dumps({"messages": messages}).encode(), limits(max_images=2))

    def test_too_large_is_told_before_anything_is_decoded(self) -> None:
        error = self.refused(f"data:image/png;base64,{'!' * 2000}", allowed=limits(max_bytes=1000))
        self.assertIn("exceeds", error.message)

    def test_a_picture_of_a_few_bytes_that_unpacks_to_gigabytes(self) -> None:
        for bomb, kind in (
            (images.png(50_000, 50_000), "png"),
            (images.jpeg(50_000, 50_000), "jpeg"),
            (images.webp_extended(50_000, 50_000), "webp"),
            (images.gif(50_000, 50_000), "gif"),
            (images.heic(50_000, 50_000), "heic"),
        ):
            error = self.refused(data_uri(bomb, f"image/{kind}"))
            self.assertIn("pixels", error.message, kind)
        self.message(image(data_uri(images.png(10_000, 10_000))))

    def test_memory(self) -> None:
        """Beside the body, an image takes its text twice (as JSON and as a part), and once its bytes."""
        body = json.dumps(
            {"messages": [{"role": "user", "content": [image(data_uri(padded(3_000_000)))]}]}
        ).encode()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        parse(body, limits())
        self.assertLess(tracemalloc.get_traced_memory()[1], 2.9 * len(body))


class Links(PartsCase):
    ALLOWED = limits(allow_url=True, max_images=2)

    def test_the_setting_is_named_when_it_is_off(self) -> None:
        for url in ("https://example.org/a.png", "HTTP://example.org/", "https:broken"):
            error = self.refused(url)
            self.assertIn("gateway.http.endpoints.chatCompletions.images.allowUrl", error.message)
            self.assertEqual(error.param, FIRST)
            self.assertNotIn("example.org", error.message)

    def test_a_draft(self) -> None:
        url = "https://example.org/a.png?b=c"
        inline = image(data_uri(images.png()))
        draft = self.message(text("what?"), image(url, detail="high"), inline, allowed=self.ALLOWED)
        address = WebAddress(scheme="https", host="example.org", port=443, target="/a.png?b=c")
        link = ImageLink(address=address, param="messages[0].content[1].image_url.url", detail="high")
        here = ImagePart("image/png", base64(images.png()))
        self.assertEqual(
            draft,
            Draft(role="user", content=(TextPart("what?"), here), parts=(TextPart("what?"), link, here)),
        )
        assert isinstance(draft, Draft)
        fetched = ImagePart("image/gif", "R0lGODlh")
        self.assertEqual(
            draft.completed({address: fetched}),
            Message(
                role="user",
                content=(TextPart("what?"), ImagePart("image/gif", "R0lGODlh", detail="high"), here),
            ),
        )

    def test_a_draft_that_nobody_completes_is_a_message_without_its_images(self) -> None:
        draft = self.message(text("what?"), image("https://example.org/"), allowed=self.ALLOWED)
        self.assertEqual(draft.content, (TextPart("what?"),))
        sent = msgspec.json.encode(Message(role=draft.role, content=draft.content))
        self.assertNotIn(b"example.org", sent)

    def test_everything_else_of_the_message_is_kept(self) -> None:
        parts = [image("https://example.org/")]
        body = {"messages": [{"role": "tool", "tool_call_id": "c1", "name": "ann", "content": parts}]}
        draft = parse(json.dumps(body).encode(), self.ALLOWED)[1].messages[0]
        assert isinstance(draft, Draft)
        (link,) = draft.parts
        assert isinstance(link, ImageLink)
        here = ImagePart("image/png", "AAAA")
        self.assertEqual(
            draft.completed({link.address: here}),
            Message(role="tool", tool_call_id="c1", name="ann", content=(here,)),
        )

    def test_images_to_be_fetched_count_too(self) -> None:
        error = self.refused(*["https://example.org/"] * 3, allowed=self.ALLOWED)
        self.assertIn("2 images", error.message)

    def test_an_address_that_cannot_be_read(self) -> None:
        for url in ("https://user@example.org/secret", "http://exa mple.org/secret", "http:///secret"):
            error = self.refused(url, allowed=self.ALLOWED)
            self.assertIn("cannot be read", error.message)
            self.assertNotIn("secret", error.message)
            self.assertEqual(error.param, FIRST)

    def test_the_ways_to_give_an_image_are_told(self) -> None:
        self.assertNotIn("http", self.refused("ftp://example.org/").message)
        self.assertIn("http(s)", self.refused("ftp://example.org/", allowed=self.ALLOWED).message)
