"""`lehr fit`: a trained model from a task and a budget, with a rate that nobody had to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import torch
import typer
from rich.console import Console

import lehr
from lehr.cli.tables import plain
from lehr.lab.failures import told
from lehr.lab.files import write
from lehr.lab.placement import Placement, Precision
from lehr.lab.tasks import make_training


def fit(
    task: Annotated[
        str,
        typer.Option(
            help="A name from `lehr tasks`, or your own as path/to/file.py:function, which runs the code of that file. "
            "The function takes a seed and makes a lehr.Training, or takes nothing and makes a task."
        ),
    ] = "digits",
    budget: Annotated[str, typer.Option(help="What to spend, the search included: 10min, 3ep, 500steps.")] = "",
    schedule: Annotated[
        str, typer.Option(help="Such as Cosine().after_warmup(0.1), at the optimizer's own rate; empty finds a rate.")
    ] = "",
    search: Annotated[float, typer.Option(help="Share of the budget that the search may take.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of initial weights and batch order.")] = 0,
    out: Annotated[str, typer.Option(help="Write the weights to this file, as a list of state dictionaries.")] = "",
    checkpoints: Annotated[str, typer.Option(help="A folder, with which a run that was killed goes on.")] = "",
    data: Annotated[str, typer.Option(help="Folder with the data, instead of LEHR_DATA or the usual places.")] = "",
    device: Annotated[
        str,
        typer.Option(help="cpu, or an accelerator such as cuda:1. auto: what is there, or where your function put it."),
    ] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, or bf16 or fp16 for mixed precision.")] = "fp32",
) -> None:
    """Train within a budget, with a learning rate that is found on the way, and say how it was found."""
    placement = Placement(device, cast("Precision", precision))
    training, total = make_training(task, seed, budget, data or None, placement)
    policy = lehr.parse_schedule(schedule) if schedule else lehr.Autopilot(search=search)
    result = told(f"training {task}", lambda: lehr.fit(training, total, policy, checkpoints=checkpoints or None))
    console = Console()
    for line in result.explain().splitlines():
        console.print(plain(line), highlight=False, soft_wrap=True)
    if out:
        states = [module.state_dict() for module in training.modules]
        write(Path(out), lambda part: torch.save(states, part))
        console.print(f"Weights: {plain(out)}", highlight=False, soft_wrap=True)
