"""Where the text of a secret comes from: the file itself, the environment, or a secrets file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from openclaw_twisted.config.findings import Findings
from openclaw_twisted.config.secret import Secret
from openclaw_twisted.config.secret_settings import SecretsSettings
from openclaw_twisted.config.substitution import Expanded

__all__ = ["ReadSecretFile", "SecretSource"]

ReadSecretFile = Callable[[str], bytes]
"""Return the bytes of the file at a path as it stands in the configuration; raises OSError."""

_SHORTHAND = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
_NO_SECRETS = {"", "undefined", "null"}
_WORD = re.compile(r"[^\W_]+")
_PLACEHOLDER_WORDS = frozenset(
    _WORD.findall("""
        a api auth change changeme enter example fill gateway here in insert it key long me my openclaw
        own password paste placeholder put random redacted replace replaceme secret set shared some
        string strong the this to todo token value with xxx your
    """)
)


class SecretSource:
    """Turns what stands where a secret belongs into a `Secret`, or says why there is none."""

    def __init__(
        self, environ: Mapping[str, str], findings: Findings, *, read_file: ReadSecretFile | None = None
    ) -> None:
        self._environ = environ
        self._findings = findings
        self._read_file = read_file
        self.settings = SecretsSettings()
        self.written_out: list[str] = []
        """The paths of secrets that stand in the configuration as they are."""

    def secret(self, value: Any, path: str, *, guards: bool) -> Secret | None:
        """Return the secret that `value` stands for.

        One that cannot be had is a warning and None; one that `guards` the gateway itself is a problem,
        and so is one that anybody could guess.
        """
        complain = self._findings.refuse if guards else self._findings.warn
        if isinstance(value, Secret):
            text: str | None = value.reveal()
        elif isinstance(value, str):
            text = self._text(value, path, guards=guards)
        elif isinstance(value, dict):
            text = self._referenced(value, path, complain)
        else:
            self._findings.refuse(path, "must be text, or an object with source, provider and id")
            return None
        if text is None:
            return None
        if text.strip().lower() in _NO_SECRETS:
            complain(path, "is empty; set it to a secret or leave the key out")
            return None
        if guards and _is_placeholder(text):
            complain(path, "is a placeholder; make a secret with: openssl rand -hex 32")
            return None
        return Secret(str(text))  # plain text, which every codec can write

    def _text(self, text: str, path: str, *, guards: bool) -> str | None:
        shorthand = _SHORTHAND.fullmatch(text)
        if shorthand:
            complain = self._findings.refuse if guards else self._findings.warn
            return self._from_environment(shorthand[1], path, complain)
        if isinstance(text, Expanded):
            if text.missing and guards:
                self._findings.refuse(path, f"needs {text.missing[0]}, which is not set in the environment")
            return None if text.missing else text
        if text.strip():
            self.written_out.append(path)
        return text

    def _referenced(
        self, reference: dict[str, Any], path: str, complain: Callable[[str, str], None]
    ) -> str | None:
        unknown = set(reference) - {"source", "provider", "id"}
        name = reference.get("id")
        provider = reference.get("provider", "default")
        if unknown or not isinstance(name, str) or not isinstance(provider, str):
            self._findings.refuse(
                path, 'a secret reference reads {source: "env", provider: "default", id: "NAME"}'
            )
            return None
        match reference.get("source"):
            case "env":
                return self._from_environment(name, path, complain)
            case "file":
                return self._from_file(name, provider, path, complain)
            case "exec" | "store" as source:
                # A file that OpenClaw can use has to start here too, so a provider only goes without its key.
                complain(path, f'the source "{source}" is not supported here; use "env" or "file"')
            case _:
                self._findings.refuse(path, 'the source of a secret is "env" or "file"')
        return None

    def _from_environment(self, name: str, path: str, complain: Callable[[str, str], None]) -> str | None:
        text = self._environ.get(name)
        if not text:
            complain(path, f"needs {name}, which is not set in the environment")
            return None
        return text

    def _from_file(
        self, pointer: str, provider: str, path: str, complain: Callable[[str, str], None]
    ) -> str | None:
        """Look a secret up in the file that `secrets.providers.<provider>` names."""
        known = self.settings.providers
        chosen = provider if provider in known else self.settings.defaults.get("file", provider)
        entry = known.get(chosen)
        if entry is None or entry.source != "file" or entry.path is None:
            self._findings.refuse(path, f'needs secrets.providers.{chosen} with source "file" and a path')
            return None
        if self._read_file is None:
            complain(path, "needs a file, which cannot be read here")
            return None
        try:
            text = self._read_file(entry.path).decode().strip()
            found = text if entry.mode == "singleValue" else _pointed_at(json.loads(text), pointer)
        except OSError as error:
            complain(path, f"needs {entry.path}, which cannot be read: {error.strerror or error}")
        except (ValueError, RecursionError):
            complain(path, f"needs {entry.path}, which is not JSON; mode singleValue reads plain text")
        else:
            if found is None:
                complain(path, f'needs text at "{pointer}" in {entry.path}, and there is none')
            return found
        return None


def _pointed_at(tree: Any, pointer: str) -> str | None:
    """Return the text that a JSON pointer (RFC 6901) names, or None."""
    start, *parts = pointer.split("/")
    for part in parts:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(part.replace("~1", "/").replace("~0", "~"))
    return tree if isinstance(tree, str) and not start else None


def _is_placeholder(text: str) -> bool:
    """Tell whether the text has nothing but the words that examples use, or one character over and over."""
    words = set(_WORD.findall(text.lower()))
    return len(set(text)) == 1 or (bool(words) and words <= _PLACEHOLDER_WORDS)
