"""`lehr tasks`: what can be trained."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lehr import lab
from lehr.lab.networks import NETWORKS
from lehr.lab.tasks import IMAGES
from lehr.lab.zoo import FAMILIES


def tasks() -> None:
    """List the tasks that `lehr compare` knows by name."""
    table = Table("task", "what", "metric", "budget")
    for name in lab.TASKS:
        task = lab.load_task(name)
        table.add_row(name, task.about, task.criterion.name, task.budget)
    console = Console()
    console.print(table)
    networks = Table(
        "--network", "what", "source", caption=f"for {', '.join(IMAGES)} and image-folder", caption_justify="left"
    )
    for name, (what, source) in NETWORKS.items():
        networks.add_row(name, what, source)
    console.print(networks)
    console.print(
        "Your own: --task path/to/file.py:make_task, a function that returns a lehr.lab.Task or lehr.lab.TrainingTask; "
        "that file's code is run. Any text file, --task book.txt, is a task too: to foretell its next byte. So are the "
        "small trainings of the zoo, --task zoo/gru/3; its families are " + ", ".join(FAMILIES) + "."
    )
