"""What the tests' clients hear, written down for whoever wants to look at all of it.

With `OPENCLAW_FRAMES_FILE` in the environment every frame becomes a line of that file: the protocol of the
connection (null before the login), the method of the request that it answers (null for events), the frame.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import IO, Any

__all__ = ["FRAMES_FILE", "Record"]

FRAMES_FILE = "OPENCLAW_FRAMES_FILE"


@functools.cache
def _file() -> IO[str] | None:
    path = os.environ.get(FRAMES_FILE)  # noqa: TID251 - for the whole run of the suite
    return Path(path).open("a", encoding="utf-8", buffering=1) if path else None


class Record:
    """One connection's frames."""

    def __init__(self) -> None:
        self._protocol: int | None = None
        self._methods: dict[str, str | None] = {}

    def asked(self, payload: bytes) -> None:
        """Remember a request that is sent, whole or nearly.

        An id that is used again names no method any more: nobody could tell what is answered.
        """
        if _file() is None:
            return
        frame: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            frame = json.loads(payload)
        if isinstance(frame, dict) and isinstance(frame.get("id"), str):
            method = frame.get("method")
            known = isinstance(method, str) and frame["id"] not in self._methods
            self._methods[frame["id"]] = method if known else None

    def heard(self, frame: Any) -> None:
        """Write down a frame that has come."""
        file = _file()
        if file is None or not isinstance(frame, dict):  # a test of the door writes texts that are no frames
            return
        payload = frame.get("payload")
        if isinstance(payload, dict) and payload.get("type") == "hello-ok":
            self._protocol = payload["protocol"]
        method = self._methods.get(frame["id"]) if frame.get("type") == "res" else None
        file.write(json.dumps([self._protocol, method, frame]) + "\n")
