"""A Sphinx extension: completes the page reference/openapi, and puts openapi.json beside the pages.

Both come from the document that a gateway serves, so the page cannot differ from it.
"""

import json
from pathlib import Path
from typing import Any

from openclaw_twisted.http.openapi import document

PAGE = "reference/openapi"
FILE = "openapi.json"


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", complete)
    app.connect("build-finished", write_document)
    return {"parallel_read_safe": True}


def complete(_app: Any, docname: str, source: list[str]) -> None:
    """Add what is generated to what is written."""
    if docname == PAGE:
        source[0] += page(document())


def write_document(app: Any, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        text = json.dumps(document(), indent=1)
        (Path(app.outdir) / FILE).write_text(text + "\n", encoding="utf-8")


def page(openapi: dict[str, Any]) -> str:
    """Return the routes and the schemas as Markdown."""
    blocks = []
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            blocks += [f"## {method.upper()} {path}", operation["summary"] + ".", operation["description"]]
            blocks += [parameters(operation), body(operation), responses(operation)]
    blocks.append("## Schemas")
    for name, schema in openapi["components"]["schemas"].items():
        blocks += [f"({anchor(name)})=\n### {name}", schema.get("description", ""), fields(schema)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def parameters(operation: dict[str, Any]) -> str:
    rows = [(f"`{it['name']}`", it["in"], it["description"]) for it in operation["parameters"]]
    return table(("parameter", "in", ""), rows)


def body(operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    return f"The body is {held(operation['requestBody']['content'])}."


def responses(operation: dict[str, Any]) -> str:
    rows = [
        (status, it["description"].replace("\n\n", "<br>"), held(it["content"]), headers(it))
        for status, it in operation["responses"].items()
    ]
    return table(("status", "", "content", "headers of its own"), rows)


def held(content: dict[str, Any]) -> str:
    shown = []
    for media_type, it in content.items():
        schema = it["schema"]
        if media_type == "text/event-stream":
            pieces = schema["properties"]["data"]["anyOf"][1]["contentSchema"]
            shown.append(f"`{media_type}`, whose data is {kind(pieces)}")
        else:
            shown.append(f"`{media_type}`: {kind(schema)}")
    return "<br>".join(shown)


def headers(response: dict[str, Any]) -> str:
    own = ("x-openclaw-", "retry-after", "allow", "www-authenticate")
    return ", ".join(f"`{name}`" for name in response["headers"] if name.startswith(own))


def fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", kind(it), "yes" if name in required else "", it.get("description", ""))
        for name, it in schema.get("properties", {}).items()
    ]
    return table(("field", "holds", "required", ""), rows)


def kind(schema: dict[str, Any]) -> str:
    """Return a schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(kind, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    items = schema.get("items") or next(iter(schema.get("prefixItems", ())), None)
    said = f"array of {kind(items)}" if items else schema.get("type", "anything")
    limits = [f"{words} {schema[name]}" for name, words in LIMITS.items() if name in schema]
    return f"{said} ({', '.join(limits)})" if limits else said


LIMITS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "characters, at least",
    "maxLength": "characters, at most",
    "minItems": "at least",
    "maxItems": "at most",
}


def anchor(name: str) -> str:
    return f"schema-{name.lower()}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |" for line in lines)
