"""A folder of one's own trainings: each file with a function `make_task` is a task."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

FUNCTION: Final = "make_task"


def tasks_in(folder: str | Path) -> list[str]:
    """The names of the tasks in a folder, in the order of its files, which are read and not run.

    Args:
        folder: in which each file with a function `make_task` makes a task.

    Raises:
        ValueError: if there is no such folder, or no such file in it.

    >>> import tempfile
    >>> from lehr import lab
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "digits.py").write_text("def make_task(): ...")
    ...     [Path(name).name for name in lab.tasks_in(folder)]
    ['digits.py:make_task']
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    found = [f"{path}:{FUNCTION}" for path in sorted(folder.glob("*.py")) if _makes_a_task(path)]
    if not found:
        raise ValueError(f"no file in {folder} has a function {FUNCTION}, which returns a task")
    return found


def _makes_a_task(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from None
    return any(isinstance(node, ast.FunctionDef) and node.name == FUNCTION for node in tree.body)
