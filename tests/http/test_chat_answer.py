import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from openclaw_twisted.events import ReasoningDelta, TextDelta
from openclaw_twisted.http.chat_answer import (
    ChunkChoiceOut,
    ChunkEncoder,
    ChunkOut,
    DeltaOut,
    Heading,
)
from openclaw_twisted.sse import encode


def chunk(heading: Heading, delta: DeltaOut, *, include_usage: bool) -> bytes:
    usage = None if include_usage else msgspec.UNSET
    choices = (ChunkChoiceOut(delta),)
    return encode(
        msgspec.json.encode(
            ChunkOut(
                id=heading.id, created=heading.created, model=heading.model, choices=choices, usage=usage
            )
        )
    )


class PiecesOfText(SynchronousTestCase):
    @settings(deadline=None, max_examples=50)
    @given(model=st.text(), texts=st.lists(st.text()), include_usage=st.booleans())
    def test_they_are_the_bytes_that_the_struct_gives(
        self, model: str, texts: list[str], include_usage: bool
    ) -> None:
        heading = Heading("chatcmpl_1", 1, model + '"content":""')
        encoder = ChunkEncoder(heading, include_usage=include_usage)
        self.assertEqual(
            b"".join(encoder.encode(TextDelta(text)) for text in texts)
            + encoder.encode(ReasoningDelta("hm")),
            b"".join(chunk(heading, DeltaOut(content=text), include_usage=include_usage) for text in texts)
            + chunk(heading, DeltaOut(reasoning_content="hm"), include_usage=include_usage),
        )
