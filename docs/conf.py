"""Sphinx's settings; pictures and tables of measurements are made anew at every build."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import evidence  # noqa: E402
import pictures  # noqa: E402
from formulas import EXAMPLES, FORMULAS  # noqa: E402

import lehr  # noqa: E402

pictures.draw_all(HERE / "_pictures")
evidence.write_all(HERE / "_evidence")

project = "lehr"
author = "The lehr developers"
copyright = "2026, the lehr developers"  # noqa: A001 - Sphinx's name
release = lehr.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
autodoc_mock_imports = [
    "jax",
    "keras",
    "lightning",
    "transformers",
]  # not there to build the docs
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "colon_fence"]
nb_execution_mode = "off" if os.environ.get("LEHR_NOTEBOOKS") == "off" else "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
html_math_renderer = "mathml"
default_role = "code"
html_theme = "furo"
html_title = f"lehr {release}"
html_static_path = ["_static"]
html_css_files = ["lehr.css"]
exclude_patterns = ["_build", "_evidence", "**.ipynb_checkpoints"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "all"
autodoc_typehints_format = "short"
napoleon_use_rtype = False


def _formulas(
    app: object, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Show the indented formulas of docstrings as mathematics, and a schedule's curve before its own."""
    for index in range(len(lines) - 1, 0, -1):
        before = next((line for line in reversed(lines[:index]) if line.strip()), "")
        if (
            lines[index].startswith("    ")
            and not lines[index - 1].strip()
            and not before.startswith("    ")
        ):
            if name not in FORMULAS:
                lines[index:index] = ["::", ""]
                continue
            end = next(
                (
                    k
                    for k in range(index, len(lines))
                    if not lines[k].startswith("    ")
                ),
                len(lines),
            )
            lines[index:end] = _mathematics(name)
    if (
        name in EXAMPLES and ".. math::" not in lines
    ):  # recipes, whose docstrings compose
        at = next((k for k, line in enumerate(lines) if not line.strip()), len(lines))
        lines[at:at] = ["", *_mathematics(name)]


def _mathematics(name: str) -> list[str]:
    picture = (
        [f".. image:: /_pictures/{name}.svg", f"   :alt: {EXAMPLES[name]}", ""]
        if name in EXAMPLES
        else []
    )
    return [*picture, ".. math::", "", f"   {FORMULAS[name]}", ""]


def _inline(writer: Any, node: Any) -> None:
    """Mathematics as MathML, which browsers draw by themselves: no script, and nothing is fetched."""
    writer.body.append(convert(node.astext()))
    raise SkipNode


def _block(writer: Any, node: Any) -> None:
    writer.body.append(
        f'<div class="math">{convert(node.astext(), display="block")}</div>'
    )
    raise SkipNode


def _public(app: Any, env: Any, node: Any, text: Any) -> Any:
    """The public name of a type that an annotation names by the module it is made in."""
    target = str(node.get("reftarget", ""))
    if not target.startswith("lehr."):
        return None
    domain, name = env.get_domain("py"), target.rpartition(".")[2]
    found = [full for full in domain.objects if full.rpartition(".")[2] == name]
    if len(found) != 1:
        return text if node.get("reftype") == "class" else None  # a type without a page
    kind, document = node["reftype"], node.get("refdoc", "")
    return domain.resolve_xref(env, document, app.builder, kind, found[0], node, text)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _formulas, priority=400)  # before napoleon
    app.connect("missing-reference", _public)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


# bases and annotations outside this package
nitpick_ignore_regex = [(r"py:.*", r"(?!lehr\b).*")]
suppress_warnings = ["config.cache"]
