from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from openclaw_twisted.auth.credentials import MAX_SECRET_BYTES, from_connect, from_headers


def bearer(*values: bytes) -> bytes | None:
    headers = Headers()
    for value in values:
        headers.addRawHeader(b"Authorization", value)
    return from_headers(headers).secret


class FromHeadersTests(SynchronousTestCase):
    def test_the_scheme_is_free_in_case_and_blanks(self):
        for value in (b"Bearer s3cret", b"bearer s3cret", b"BEARER \t s3cret \t", b"  Bearer s3cret"):
            self.assertEqual(bearer(value), b"s3cret", value)

    def test_any_bytes_that_are_no_control_characters(self):
        self.assertEqual(bearer("Bearer pässwort mit Blanks".encode()), "pässwort mit Blanks".encode())
        self.assertEqual(bearer(b"Bearer \xff\xfe"), b"\xff\xfe")

    def test_nothing_offered(self):
        headers = Headers({b"X-Api-Key": [b"s3cret"], b"Cookie": [b"token=s3cret"]})
        self.assertIsNone(from_headers(headers).secret)

    def test_what_cannot_be_a_secret_is_offered_and_matches_nothing(self):
        bad = [b"", b"Bearer", b"Bearer ", b"s3cret", b"Basic czNjcmV0", b"Bearers3cret", b"Token s3cret"]
        bad += [b"Bearer s3\x00cret", b"Bearer s3\tcret", b"Bearer s3\x7fcret", b"Bearer \x1bs3cret"]
        bad += [b"Bearer " + b"x" * (MAX_SECRET_BYTES + 1)]
        for value in bad:
            self.assertEqual(bearer(value), b"", value)

    def test_two_headers_are_none(self):
        self.assertEqual(bearer(b"Bearer s3cret", b"Bearer s3cret"), b"")

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.binary(max_size=64))
    def test_any_header_is_read_or_refused(self, value: bytes):
        self.assertIsInstance(bearer(value), bytes)

    def test_it_never_shows_the_secret(self):
        headers = Headers({b"Authorization": [b"Bearer s3cret"]})
        self.assertNotIn("s3cret", f"{from_headers(headers)!r} {from_headers(headers)}")


class FromConnectTests(SynchronousTestCase):
    def secret(self, token: str | None, password: str | None, mode: str = "token") -> bytes | None:
        return from_connect(token, password, mode=mode, headers=Headers()).secret

    def test_either_field_and_the_one_of_the_mode_first(self):
        self.assertEqual(self.secret("t", None), b"t")
        self.assertEqual(self.secret(None, "p"), b"p")
        self.assertEqual(self.secret("t", "p"), b"t")
        self.assertEqual(self.secret("t", "p", "password"), b"p")
        self.assertEqual(self.secret("t", "", "password"), b"t")

    def test_nothing_offered(self):
        self.assertIsNone(self.secret(None, None))
        self.assertIsNone(self.secret("", ""))

    def test_text_that_cannot_be_a_secret_matches_nothing(self):
        for text in ("a\x00b", "a\nb", "x" * (MAX_SECRET_BYTES + 1), " "):
            self.assertEqual(self.secret(text, None), b"", text)

    def test_a_lone_surrogate_raises_nothing(self):
        self.assertIsInstance(self.secret("a\ud800", None), bytes)
