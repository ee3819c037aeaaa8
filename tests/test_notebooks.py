"""The notebooks, from top to bottom at small budgets; building the docs runs them as they are."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

SMALLER = {'"1000steps"': '"500steps"', "1_000": "500", "in range(9)": "in range(2)", '"1s"': '"0.2s"'}
"""Budgets as the notebooks have them, and as they run here."""


@runtime_checkable
class DrawsItself(Protocol):
    """What a notebook shows as more than text."""

    def _repr_html_(self) -> str | None: ...


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(cell: str, names: dict[str, Any]) -> None:
    """As Jupyter does: the last expression shows itself."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if isinstance(last, ast.Expr):
        shown = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
        if isinstance(shown, DrawsItself) and not isinstance(shown, type):
            drawn = shown._repr_html_()
            assert drawn is None or "<" in drawn


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setitem(plt.rcParams, "figure.max_open_warning", 0)
    plt.switch_backend("Agg")
    names: dict[str, Any] = {}
    for cell in code_of(path):
        for usual, small in SMALLER.items():
            cell = cell.replace(usual, small)  # noqa: PLW2901
        run(cell, names)
        plt.close("all")


def test_notebooks_need_the_lab_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["lab"]]
    there = {re.split(r"[<>=\[]", one)[0].lower() for one in needed}
    trees = [ast.parse(cell) for path in NOTEBOOKS for cell in code_of(path)]
    statements = [node for tree in trees for node in ast.walk(tree)]
    modules = {one.name for node in statements if isinstance(node, ast.Import) for one in node.names}
    modules |= {node.module or "" for node in statements if isinstance(node, ast.ImportFrom)}
    found = packages_distributions()
    for top in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"lehr"}:
        assert {name.lower() for name in found[top]} & there, top


def test_pictures_are_shown() -> None:
    """Figures of results are none of pyplot's, which Jupyter shows by itself: a semicolon hides them."""
    hidden = [cell for path in NOTEBOOKS for cell in code_of(path) if cell.rstrip().endswith(".plot();")]
    assert not hidden


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 7
    assert all(any(usual in cell for path in NOTEBOOKS for cell in code_of(path)) for usual in SMALLER)
