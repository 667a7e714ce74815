from __future__ import annotations

import json
import re

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.surrogates import Halves, without_halves

FOX = "\\ud83e\\udd8a"


class WithoutHalvesTests(SynchronousTestCase):
    def test_a_half_becomes_what_cannot_be_read(self) -> None:
        for text, told in (
            ("\\ud83e", "\ufffd"),
            ("\\uDD8A", "\ufffd"),
            ("a\\ud83eb", "a\ufffdb"),
            ("\\ud83e\\ud83e", "\ufffd\ufffd"),
            ("\\udd8a\\ud83e", "\ufffd\ufffd"),
            (f"\\ud83e{FOX}", "\ufffd🦊"),
            (f"{FOX}\\udd8a", "🦊\ufffd"),
            ("\\n\\ud83e", "\n\ufffd"),
            ("\\\\\\ud83e", "\\\ufffd"),
            ("\\ud83e\\n", "\ufffd\n"),
            ("\\\\ud83e\\udd8a", "\\ud83e\ufffd"),
            ("\\ud83e\\\\udd8a", "\ufffd\\udd8a"),
        ):
            mended = without_halves(f'"{text}"'.encode())
            assert mended is not None, text
            self.assertEqual(msgspec.json.decode(mended), told, text)

    def test_whole_text_is_left_alone(self) -> None:
        for text in ("", "fox", FOX, FOX * 3, "\\\\ud83e", "\\\\\\\\udd8a", "\\u00e4", "\\ude", "\\udzzz"):
            self.assertIsNone(without_halves(f'"{text}"'.encode()), text)

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.text(st.characters(categories=("Cs", "Cc", "So")) | st.sampled_from('\\"ud8'), max_size=12))
    def test_what_python_writes_can_be_read(self, text: str) -> None:
        written = json.dumps(text)
        told = msgspec.json.decode(without_halves(written.encode()) or written.encode())
        self.assertEqual(told, re.sub("[\ud800-\udfff]", "\ufffd", json.loads(written)))


class HalvesTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.text(st.sampled_from('🦊é"\\n'), max_size=8), st.integers(1, 3))
    def test_wherever_a_text_is_cut_it_is_whole_again(self, text: str, units: int) -> None:
        halves = Halves()
        utf16 = text.encode("utf-16-le")
        told = ""
        for at in range(0, len(utf16), 2 * units):
            piece = utf16[at : at + 2 * units].decode("utf-16-le", "surrogatepass")
            written = json.dumps({"text": piece}).encode()
            told += msgspec.json.decode(halves.join(written) or written)["text"]
        self.assertEqual(told, text)
