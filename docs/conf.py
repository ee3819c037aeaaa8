"""Sphinx's settings; pictures are drawn from the schedules themselves at every build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pictures  # noqa: E402

import lehr  # noqa: E402

pictures.draw_all(HERE / "_pictures")

project = "lehr"
author = "The lehr developers"
copyright = "2026, the lehr developers"  # noqa: A001 - Sphinx's name
release = lehr.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
autodoc_mock_imports = ["jax", "keras", "lightning", "transformers"]  # which are not there to build the docs
myst_heading_anchors = 3
default_role = "code"
html_theme = "furo"
html_title = f"lehr {release}"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False


def _formulas(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Show the indented formulas of docstrings as they are written."""
    for index in range(len(lines) - 1, 0, -1):
        before = next((line for line in reversed(lines[:index]) if line.strip()), "")
        if lines[index].startswith("    ") and not lines[index - 1].strip() and not before.startswith("    "):
            lines[index:index] = ["::", ""]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _formulas, priority=400)  # before napoleon


# bases and annotations outside this package
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|collections|abc|typing|optimizer).*"),
    (r"py:class", r"(ABC|Values|optional)"),
]
suppress_warnings = ["config.cache"]
