"""Bytes that nobody should send, by the million: `python benchmarks/fuzz.py TARGET [-runs=N] [...]`.

Needs atheris (`pip install atheris`), which is no dependency of the suite. TARGET is one of

    sse           an event stream at any split, against a reader that has it as a whole
    answer        the answer of an OpenAI-compatible provider, to a finish or an `UpstreamError`
    refusal       the head and body of a provider's error
    chat          the body of a chat completion, to a model request or an `InvalidRequestError`
    responses     the same for the Responses API
    frames        a WebSocket frame, with its params read as each method reads them
    http          what a provider sends in place of HTTP, in pieces

What follows are libFuzzer's own options; `-runs=1000000` is what a change to one of these owes. A finding is
printed with the bytes that led to it, and the process ends.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["openclaw_twisted"]):
    from fuzz_targets import TARGETS


def _words(*seeds: bytes) -> bytes:
    """Return a libFuzzer dictionary of the names in the seeds, so that mutations still have a meaning."""
    names = {name for seed in seeds for name in re.findall(rb'"[a-zA-Z_-]+"', seed)}
    return b"\n".join(b'"' + name.replace(b'"', b'\\"') + b'"' for name in sorted(names))


def main() -> None:
    """Fuzz."""
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        sys.exit(__doc__)
    target, seeds = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for at, seed in enumerate(seeds):
            (corpus / str(at)).write_bytes(seed)
        if names := _words(*seeds):
            words = Path(folder) / "words"
            words.write_bytes(names)
            options.append(f"-dict={words}")
        atheris.Setup([sys.argv[0], *options, str(corpus)], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
