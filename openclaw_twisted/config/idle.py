"""What a file asks for and does not get, gathered to be said once."""

from __future__ import annotations

from dataclasses import dataclass, field

from openclaw_twisted.config.findings import Findings

__all__ = ["Idle"]


@dataclass
class Idle:
    """Sections and keys that are accepted without effect."""

    sections: list[str] = field(default_factory=list)
    _alike: dict[object, list[str]] = field(default_factory=dict)

    def note(self, path: str, kind: object) -> None:
        """Note a key; those of one kind (a model's price, for every model) are told as one.

        A section that is noted stands for whatever was noted inside.
        """
        for paths in self._alike.values():
            paths[:] = [known for known in paths if not known.startswith((f"{path}.", f"{path}["))]
        self._alike.setdefault(kind, []).append(path)

    def tell(self, findings: Findings) -> None:
        """Warn once about sections and once about keys."""
        if self.sections:
            listed = ", ".join(self.sections)
            findings.warn("", f"these sections belong to parts this gateway does not have: {listed}")
        keys = [_as_one([findings.shown(path) for path in paths]) for paths in self._alike.values() if paths]
        if keys:
            findings.warn("", f"accepted, but without effect in this version: {', '.join(keys)}")


def _as_one(paths: list[str]) -> str:
    return f"{paths[0]} (and {len(paths) - 1} like it)" if len(paths) > 1 else paths[0]
