"""The programs of benchmarks/, which are no package, for the tests of them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["BENCHMARKS", "program"]

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


def program(name: str) -> Any:
    """Import one of them; they find each other as they do when they are run, beside themselves."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
