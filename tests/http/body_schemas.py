"""What the OpenAPI document says of request bodies, and what it cannot say."""

from __future__ import annotations

import re
from typing import Any

from jsonschema_rs import Draft202012Validator

__all__ = ["BEYOND_THE_SCHEMA", "body_schema"]

# What a schema cannot say: it depends on other fields, on settings, on what was sent before.
BEYOND_THE_SCHEMA = re.compile(
    "Give the image as a data: URI"
    "|names a tool that is not among the tools"
    "|but no tools are given"
    "|Two tools have the same name"
    "|is given twice, with different values"
    "|There is no response of this id"
    "|Files are not taken|Recordings are not taken|files are not kept here"
    "|Runs in the background|Conversations are not kept|Prompts are not stored"
    "|System messages hold text only"
    "|The session key (?:contains control characters|is longer than)"
    "|levels deep"
    "|Nothing is left to answer"
    "|No item of this id is kept"
)


def body_schema(document: Any, path: str) -> Draft202012Validator:
    """Return what tells whether a body is as the document wants it."""
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})
