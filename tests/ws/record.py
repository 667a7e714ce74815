"""What the tests' clients hear, written down for whoever wants to look at all of it.

With `OPENCLAW_FRAMES_FILE` in the environment every frame becomes a line of that file: the protocol of the
connection (null before the login), the method of the request that it answers (null for events), the frame.
"""

from __future__ import annotations

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
        self._methods: dict[Any, Any] = {}

    def asked(self, frame: Any) -> None:
        """Remember a request that is sent."""
        if _file() is not None and isinstance(frame, dict) and isinstance(frame.get("id"), str):
            self._methods[frame["id"]] = frame.get("method")

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
