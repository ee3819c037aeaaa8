"""`lehr tasks`: what can be trained."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lehr import lab


def tasks() -> None:
    """List the tasks that `lehr compare` knows by name."""
    table = Table("task", "what", "metric", "budget")
    for name in lab.TASKS:
        task = lab.load_task(name)
        table.add_row(name, task.about, task.criterion.name, task.budget)
    console = Console()
    console.print(table)
    console.print(
        "Your own: --task path/to/file.py:make_task, a function that returns a lehr.lab.Task or lehr.lab.TrainingTask; "
        "that file's code is run."
    )
