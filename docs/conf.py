"""How Sphinx builds the documentation: `tox -e docs`."""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent / "openclaw_twisted" / "__init__.py"

sys.path.insert(0, str(Path(__file__).parent))

project = "OpenClaw Gateway on Twisted"
author = "openclaw-twisted contributors"
copyright = f"2026, {author}"
release = _PACKAGE.read_text(encoding="utf-8").split('__version__ = "')[1].split('"')[0]

extensions = ["myst_parser", "openapi_page", "ws_page"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]

html_theme = "alabaster"
html_title = f"{project} {release}"
html_theme_options = {"description": "OpenAI clients talk to your own agents.", "page_width": "64rem"}
